"""For tests of programs that use turbosock: peers in memory, without a network. Nothing else imports this package."""

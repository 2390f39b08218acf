"""The arena: a small game for many, whose server, bots and page show one way to build on `Loop.poll()`.

Players steer discs, gather gems, and dash into each other to rob some. The server alone decides what happens: clients
say which keys are down, and are told sixty times a second how the world looks.

From the bottom up: `rules.py` has the numbers, `world.py` the simulation, which knows no network; `messages.py` is
what goes over the wire; `allowance.py` and `session.py` bound what one client may do; `scoreboard.py` is a service that
keeps the best scores, and `score_keeper.py` what asks it; `server.py` joins them in one loop. `bot.py` and `page.html`
are two clients.
"""

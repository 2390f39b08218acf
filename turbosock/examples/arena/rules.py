"""The numbers of the game: lengths in pixels of the field, speeds in pixels a second, durations in ticks."""

from __future__ import annotations

from typing import Final

TICK_RATE_HZ: Final = 60

WIDTH: Final = 1600
HEIGHT: Final = 900
# Round pillars, as (x, y, radius): symmetrical, so that no corner is a better one.
PILLARS: Final = ((800, 450, 70), (400, 250, 45), (1200, 250, 45), (400, 650, 45), (1200, 650, 45))

RADIUS: Final = 22
# Steering speeds a player up by this, and drag slows it by this share of its speed, each second: 380 at most.
ACCELERATION: Final = 1900.0
DRAG: Final = 5.0
# What is left of a speed after a wall, and of the speed towards each other after two players have met.
BOUNCE: Final = 0.5

# A dash adds so much speed, lasts so long, and is ready again after so long.
DASH_SPEED: Final = 700.0
DASH_TICKS: Final = 15
DASH_WAIT_TICKS: Final = 90
# Who dashes into another takes so many of its points; who was robbed is safe for so long.
ROBBED_POINTS: Final = 2
SAFE_TICKS: Final = 60

GEMS: Final = 24
GEM_RADIUS: Final = 9
# Attempts to find a free place for a gem or a newcomer, before the last one found is taken as it is.
PLACE_ATTEMPTS: Final = 20

# A snapshot of so many is 2 KiB, and one byte counts them.
MAX_PLAYERS: Final = 200
# Those who look on included, and pages being fetched.
MAX_CONNECTIONS: Final = 1000
MAX_NAME_CHARS: Final = 16
MAX_CHAT_CHARS: Final = 160
# What a client may say: the longest is a line of chat whose every character is written as two escapes, 2 KiB.
MAX_COMMAND_BYTES: Final = 4096
# What it may be told: the longest is who plays, with 200 names of sixteen characters of four bytes, 16 KiB.
MAX_MESSAGE_BYTES: Final = 32 * 1024
# A keyboard makes some thirty changes a second at most; a client may send so many messages a second, and save up two
# seconds' worth.
MESSAGES_PER_S: Final = 100
# Lines of chat that may follow each other at once, and then one each so many seconds.
CHAT_BURST: Final = 5
CHAT_INTERVAL_S: Final = 1.5
# For a client that takes nothing, before it is given up.
WRITE_TIMEOUT_S: Final = 10.0
# What may wait for one client. Snapshots replace each other, so this is what it was told once and has not read.
MAX_UNSENT_BYTES: Final = 64 * 1024

# The network's share of a tick of 16.7 ms: receiving, then sending.
POLL_BUDGET_S: Final = 0.004
FLUSH_BUDGET_S: Final = 0.002

# How often the scoreboard is told and asked, and when it is given up.
SCORES_INTERVAL_TICKS: Final = TICK_RATE_HZ
SCORES_TIMEOUT_S: Final = 2.0
SHOWN_SCORES: Final = 10
# Names that a scoreboard remembers; beyond, the lowest go.
MAX_KEPT_SCORES: Final = 1000
# An answer has ten names of sixteen characters, each at most an escaped surrogate pair: 2 KiB.
MAX_SCORES_BYTES: Final = 16 * 1024
# Two bytes each on the wire.
MAX_POINTS: Final = 65535
MAX_ID: Final = 65535

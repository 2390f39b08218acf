"""Every bound in turbosock, each with its reason and its precedent.

Nothing in the library grows without meeting one of these. Settings in `config.py` may lower most of them and
raise some; their defaults are these values. Relations between bounds are checked when this module is imported.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# HTTP heads

# A message head, start line included. Apache allows 8 KiB a field and nginx 32 KiB in all; single sign-on
# cookies reach 40 KiB in practice, so 64 KiB refuses attacks and no known server.
MAX_HEAD_BYTES = 64 * KIB

# Fields of one head. Python's http.client stops at 100, which large sites exceed; h2o at 100, Node at 2,000.
MAX_HEAD_FIELDS = 256

# Interim (1xx) responses before the final one. Without a bound an endless 103 stream holds a caller for ever.
MAX_INTERIM_RESPONSES = 16

# Bytes of an answer's body that are read away to keep its connection, where another request follows: a redirect's page
# is a few hundred bytes. Beyond this a new connection is cheaper.
MAX_DRAINED_BYTES = 64 * KIB

# The line with a chunk's size, extensions included. llhttp allows 16 KiB, Go 4 KiB after CVE-2023-39326.
MAX_CHUNK_LINE_BYTES = 4 * KIB

# Chunk extension bytes in one body (aiohttp CVE-2024-52304 and Go CVE-2023-39326 are abuse of these).
MAX_CHUNK_EXTENSION_BYTES = 16 * KIB

# Digits of a Content-Length: 18 decimal digits stay below 2**63, the largest file offset.
MAX_CONTENT_LENGTH_DIGITS = 18

# Hexadecimal digits of a chunk size: 15 stay below 2**63.
MAX_CHUNK_SIZE_DIGITS = 15

# A URL. Browsers stop at 2 MiB, servers at 8 KiB; the head that carries it is bounded by MAX_HEAD_BYTES.
MAX_URL_LENGTH = 32 * KIB

# HTTP/2

# The window of a new stream: what its peer may send before anything of it was read. Chrome gives 6 MiB, Go 4 MiB, curl
# 10 MiB, nghttp2 64 KiB; four rings are what 100 Mbit/s take in 20 ms, and the memory is bounded by the next line.
HTTP2_STREAM_WINDOW_BYTES = 256 * KIB
# Streams of one connection. Servers allow 100 to 256.
MAX_HTTP2_STREAMS = 128
# The first windows of all streams of a connection together: what slow readers of all of them can cost in memory.
MAX_HTTP2_WINDOWS_BYTES = 32 * MIB
# A stream's window grows while its reader keeps up and the path holds more than it, up to here: 4 Gbit/s over 50 ms.
# curl gives 10 to 32 MiB from the beginning.
MAX_HTTP2_STREAM_WINDOW_BYTES = 24 * MIB
# By how much the windows of one connection may have grown together, beyond the first ones.
MAX_HTTP2_GROWTH_BYTES = 32 * MIB
# The window of the connection: never what holds a stream up, since each stream's own bounds its memory. Twice that,
# because it is filled up when half of it is used.
HTTP2_CONNECTION_WINDOW_BYTES = 2 * (MAX_HTTP2_WINDOWS_BYTES + MAX_HTTP2_GROWTH_BYTES)
# Frames that move nothing (PING, SETTINGS, resets, empty DATA, unknown ones) in a row, before the connection is ended
# with ENHANCE_YOUR_CALM (CVE-2019-9512, 9515, 9518). nghttp2 and Go stop at 1,000 and 10,000 replies.
MAX_HTTP2_IDLE_FRAMES = 1000
# How many of them each receive forgives: a peer that asks for a sign of life now and then, for hours, does not flood.
HTTP2_FORGIVEN_FRAMES = 8
# Streams that a client opened and reset, or that had to be reset for its mistakes, less those that ended well
# (CVE-2023-44487). Go and nginx stop at about twice the streams that may be open.
MAX_HTTP2_RESETS = 256
# Streams of a connection that we have reset, and that are remembered because frames may still be on their way.
MAX_HTTP2_REMEMBERED_RESETS = 1000
# CONTINUATION frames of one header section (CVE-2024-28182): five carry the largest head, senders of small ones exist.
MAX_HTTP2_CONTINUATIONS = 32
# Room in the output that is kept for replies: a receive stops while there is less.
HTTP2_REPLY_BYTES = 1 * KIB
# A connection with open streams from which nothing has come for so long is asked for a sign of life, and is dead after
# as long again without an answer. NAT tables forget in minutes; gRPC asks every 20 s at most.
HTTP2_PING_S = 30.0
# How often a thread that sleeps while another one reads for it looks whether that one still does: an interrupt may end
# a thread at any point.
HTTP2_BATON_LOOK_S = 1.0
# Requests of one connection that a listener answers in one step, before the connection goes to the back of the line: as
# many as may be open at once, so that what came together is usually answered together. At 20 µs each, 3 ms.
MAX_HTTP2_REQUESTS_PER_STEP = 128
# Request bodies that one connection of a listener may have gathered and not finished, beyond the first windows, before
# the oldest alone is given more credit: as much as one connection of HTTP/1 can make a listener gather, doubled.
MAX_HTTP2_GATHERED_BYTES = 32 * MIB
# Attempts of a request that the peer says it has not looked at.
MAX_REFUSED_ATTEMPTS = 4

# Buffers

# The receive ring of a connection. It must hold a whole head; a TLS record (16 KiB) fits four times.
RECEIVE_RING_BYTES = 64 * KIB

# Pool buckets: powers of two from here ...
MIN_BUCKET_BYTES = 1 * KIB
# ... to here. Above it a buffer is made for its one use and counted as unpooled: keeping megabytes idle
# helps nobody.
MAX_BUCKET_BYTES = 4 * MIB
# Buffers kept idle in one bucket: as many as the connections that one process usually drives at once.
MAX_IDLE_PER_BUCKET = 64
# Idle bytes kept in one bucket, so that the large buckets keep fewer buffers than the small ones.
MAX_IDLE_BYTES_PER_BUCKET = 8 * MIB
# A segment of a long body: large enough that recv_into is worth its system call, small enough to pool.
SEGMENT_BYTES = 64 * KIB
# What one BufferWriter may hold unless told otherwise.
MAX_WRITER_BYTES = 64 * MIB

# What a ring copies aside at once when it turns its content in place: a quarter of a receive ring at most.
ROTATION_BLOCK_BYTES = 16 * KIB
# Leaked leases and views that a diagnostic pool remembers: a faulty line shows again and again.
MAX_RECORDED_LEAKS = 256

# Idle objects kept in one ObjectPool (responses, exchanges, contexts, rings).
MAX_IDLE_OBJECTS = 256

# Free receive rings that a Client or a Loop keeps: 64 × 64 KiB = 4 MiB.
MAX_IDLE_RINGS = 64

# Bodies gathered into owned bytes grow in steps: a Content-Length alone never makes memory, arrived bytes do.
GATHER_STEP_BYTES = 1 * MIB
# They double up to here, and grow by an eighth from here on: a large body of unknown length takes 1.13 times itself.
GATHER_DOUBLING_BYTES = 8 * MIB

# Reactor

# Events taken from one epoll call. 42 × 12 bytes stay inside pymalloc's 512; the default mallocs 12 KiB.
POLL_BATCH = 42
# The same while fewer than so many are ready: the array is made anew for each call.
FEW_POLL_BATCH = 8
# Bytes that one connection may take from its socket in one turn before it goes to the back of the line.
TURN_QUANTUM_BYTES = 256 * KIB
# Connections that a listener accepts in one turn: a burst of players must not cost a frame.
MAX_ACCEPTS_PER_TURN = 16
# Dials that a Loop starts in one turn.
MAX_DIALS_PER_TURN = 32
# Steps of TLS handshakes with servers that a Loop takes in one turn. The dear one, which checks the server's chain,
# costs about half a millisecond: all of them together stay below half a frame at 60 Hz.
MAX_DIAL_HANDSHAKES_PER_TURN = 16
# Timers in one heap: one for each connection and exchange of the largest Loop, doubled.
MAX_TIMERS = 131_072
# The largest single wait of a poller. Longer waits are several; it keeps every timeout inside a C int of ms.
MAX_POLL_WAIT_S = 3600.0
# Probing of a silent peer on connections that may be silent for long: the first probe after 60 s, six more at
# 10 s, so that a dead peer shows after two minutes. NAT tables forget a silent connection after 2 to 5 minutes
# (RFC 5382 asks for 124 minutes, home routers do less); Linux would wait for two hours.
KEEP_ALIVE_IDLE_S = 60
KEEP_ALIVE_INTERVAL_S = 10
KEEP_ALIVE_PROBES = 6

# Names

# Resolver cache: entries and lifetime. getaddrinfo tells no TTL; Java caches 30 s, curl 60 s.
MAX_CACHED_NAMES = 1024
NAME_LIFETIME_S = 60.0
# How long a failed look-up is remembered, so that an outage does not start a thread's work for each request.
FAILED_NAME_LIFETIME_S = 1.0
# Threads that resolve for Loops; getaddrinfo blocks, and four slow names at once are enough to notice.
RESOLVER_THREADS = 4
# A resolver thread that found nothing to do for this long ends; the next look-up starts another in 50 µs.
RESOLVER_IDLE_S = 10.0
# Look-ups waiting for those threads.
MAX_PENDING_LOOKUPS = 1024
# A host name in characters, and one of its labels: RFC 1035 section 2.3.4, as written without the final dot.
MAX_HOST_LENGTH = 253
MAX_LABEL_LENGTH = 63
# Addresses of one name that are tried: RFC 8305 asks to try several, not all of a hostile answer.
MAX_ADDRESSES_PER_NAME = 16
# Entries of one host map: each is two texts in memory, and a file of thousands of hosts fits.
MAX_HOST_MAPPINGS = 4096
# The next address is tried beside the ones before after this time: RFC 8305 section 5 recommends it, and sets 100 ms
# and 2 s as the bounds of what is sensible. curl has 200 ms, browsers 250 to 300.
CONNECT_ATTEMPT_DELAY_S = 0.25

# How often a blocking dial looks up whether it was given up, where shutting its socket down does not wake it: what
# people take for at once.
DIAL_LOOK_S = 0.1

# Proxies

# Proxies in a row. Tor builds chains of 3; each one adds a round trip, and TLS to each one a session inside a session.
MAX_PROXY_HOPS = 8
# A proxy's answer to CONNECT. It has no body; nginx's largest field fits twice.
MAX_PROXY_HEAD_BYTES = 16 * KIB
# User names and passwords of proxies: RFC 1929 has one byte for their lengths.
MAX_PROXY_CREDENTIAL_BYTES = 255
# TLS configurations of proxies that one client keeps ready, about 5 KB each: requests may bring their own proxy.
MAX_PROXY_TLS_CONFIGS = 16
# A list of hosts that are reached without the proxy, NO_PROXY say: thousands of names and networks fit.
MAX_NO_PROXY_LENGTH = 64 * KIB

# Clients

# Requests kept serialised for reuse, in one Client or Loop; a crawler's distinct URLs must not accumulate.
MAX_PREPARED_REQUESTS = 1024
# Ways of TLS that the requests of one adapter may ask for, with a Client each: programs have one or two, and one that
# writes a new file of authorities for each request must not accumulate clients.
MAX_INTEGRATION_CLIENTS = 32
# Connections of a Client or Loop in all, and to one origin; aiohttp's total is 100, browsers' six an origin
# protects servers from pages, not from programs.
MAX_CONNECTIONS = 1024
MAX_CONNECTIONS_PER_ORIGIN = 128
# What a PoolConfig may ask for of each: as many as one address of ours has ports to one server.
MAX_POOLED_CONNECTIONS = 65_536
# Origins remembered. The least recently used one without connections goes first.
MAX_ORIGINS = 1024
# Idle connections kept in all: as many as there may be, because a tick that asks for hundreds at once would dial them
# anew each time. MAX_IDLE_S is what closes the ones that nobody needs.
MAX_IDLE_CONNECTIONS = 1024
# How long an idle connection is kept. Node closes after 5 s, nginx after 75 s, Apache after 5 s; the stale
# retry covers those in between.
MAX_IDLE_S = 60.0
# A connection idle for longer than this is asked, with one system call, whether the peer has spoken or closed. What an
# origin sends unasked within this time of its last answer is taken for the next one, as it is when it comes while the
# request is on its way: no check can close that window, and it is the origin's own answer that it spoils.
HEALTH_CHECK_AFTER_S = 0.001
# How often connections that are idle for too long, and that nobody asks for, are looked for by the way.
IDLE_SWEEP_S = 1.0
# By how much of its lifetime a connection may end early, at random: those that were opened together, after a restart
# of the server, say, must not all be dialled anew together.
LIFETIME_JITTER = 0.1
# What one prewarmer keeps ready: as many as a whole pool has connections.
MAX_PREWARM_READY = 1024
# Origins that one Client or Loop keeps warm: in a Client each has a thread.
MAX_PREWARMED_ORIGINS = 64
# What one prewarmer builds at once, so that a filling does not push everybody else's dials aside.
PREWARM_BUILDING = 4
# How often the ready ones are looked at and replaced. Servers that close idle connections soonest do so after 5 s: a
# dead one is found well before as many again have died.
PREWARM_INTERVAL_S = 1.0
# The bounds of the first and of the longest pause after builds that failed: an origin that restarts is there again
# within seconds, and one that is down for hours is asked twice a minute or so by each client.
PREWARM_BACKOFF_FIRST_S = 0.1
PREWARM_BACKOFF_CAP_S = 30.0
# How long something is kept ready, as long as an idle connection is.
PREWARM_MAX_AGE_S = 60.0
# How long close() waits for what is being built: as long as a connect may take.
PREWARM_CLOSE_WAIT_S = 10.0
# How long the close() of a Client waits for its prewarming threads: their dials look up every DIAL_LOOK_S, and one that
# is inside a system call all the same must not hold up the end of a program.
PREWARM_JOIN_S = 1.0
# How long a request with `Expect: 100-continue` waits for the 100 before it sends its body all the same (RFC 9110
# section 10.1.1 asks not to wait for ever): as long as curl does.
CONTINUE_WAIT_S = 1.0
# How often a blocking upload that the peer does not take looks up whether the server has answered before the end.
UPLOAD_LOOK_S = 0.25
# Requests in one Loop that wait for a connection.
MAX_QUEUED_EXCHANGES = 65_536
# Events that wait in loop.events; the reader that never iterates gets back-pressure, not growth.
MAX_QUEUED_EVENTS = 65_536
# Event objects kept for reuse: as many as one busy turn delivers.
MAX_IDLE_EVENTS = 4096
# Memory that one Loop lends in DATA events: a thousand segments. Beyond it connections are left unread until some are
# taken, so that a program that stops iterating costs this much and no more.
MAX_LENT_BYTES = 64 * MIB
# Links of one chain of middleware: each costs every request a microsecond, and a list of dozens is a mistake.
MAX_MIDDLEWARE = 32
# Exchanges that one HarRecorder keeps: some 100 MiB of memory, and as many as a viewer of such files shows.
MAX_HAR_ENTRIES = 10_000
# Spans of requests that were prepared and perhaps never sent: more than are begun and not entered at any one time.
MAX_PENDING_SPANS = 1_000
# How often one request is sent at the wish of its middleware; AWS's clients stop at 3, Google's at 8.
MAX_ATTEMPTS = 16
# Redirects that are followed unless told otherwise, as in browsers (Fetch, section 4.4); curl stops at 50 ...
REDIRECTS = 20
# ... and at most: each is a whole exchange, and nobody builds a chain of hundreds on purpose.
MAX_REDIRECTS = 100
# Visits of one URL with one method in one chain of redirects. A site may set several cookies one after the other and
# lead back each time, or answer 303 to itself until a result is there; more than this is a loop.
MAX_REDIRECT_VISITS = 8
# Retries after the first attempt unless told otherwise. urllib3 has 3, AWS's clients 2.
RETRIES = 3
# The bounds of the first and of the longest random pause before a retry: a blip is over within a second, and who waits
# longer than half a minute is better told.
RETRY_BACKOFF_FIRST_S = 0.25
RETRY_BACKOFF_CAP_S = 30.0
# The longest Retry-After that is kept to in full: a minute still fits five times into TOTAL_TIMEOUT_S.
RETRY_AFTER_CAP_S = 60.0
# What one Client or Loop may add to an outage: a tenth of its requests, and one retry each second for those that send
# few. Finagle has a fifth and ten.
RETRY_BUDGET_RATIO = 0.1
RETRY_BUDGET_MIN_PER_S = 1.0
# Seconds of `min_per_s` that add up while nothing fails, as in Finagle.
RETRY_BUDGET_WINDOW_S = 10.0
# Retries that good times put aside for a bad one: as many as AWS's clients begin with.
MAX_RETRY_CREDIT = 100
# The largest `min_per_s` that can be asked for: more is no budget.
MAX_RETRY_BUDGET_PER_S = 1000.0
# What a gathered body may hold unless the configuration says otherwise.
MAX_GATHERED_BODY_BYTES = 1024 * MIB
# Body bytes of a download that are written to its file at once: sixteen TLS records, and a fraction of a disk's queue.
DOWNLOAD_BLOCK_BYTES = 256 * KIB
# The note beside the part of a file, and the entity tag in it: real ones have under 100 characters.
MAX_DOWNLOAD_NOTE_BYTES = 4 * KIB
MAX_VALIDATOR_LENGTH = 1024
# Body bytes written to a peer in one step from an iterable or a file: the tests of uploads show no gain above.
SEND_BLOCK_BYTES = 512 * KIB
# A file with so much left is moved to a plain socket by the system; less is read and leaves with the head, in one call.
MOVED_FILE_BYTES = 128 * KIB
# What of a file a blocking caller has moved in one step, which takes no more than the socket has room for: so much that
# the steps cost nothing beside the bytes, and that a disk is done with it in a fraction of a second.
MOVED_STEP_BYTES = 4 * MIB
# A body that a serializer writes: as much as one that is gathered.
MAX_SERIALIZED_BYTES = 1024 * MIB
# What is put together for one send, where it would be several, or several TLS records: a record has room for so much,
# and a copy is cheaper than a record, or an address, of its own for a head.
JOINED_SEND_BYTES = 16 * KIB
# A piece of a multipart form that is put together with its neighbours; what is longer is sent from where it lies.
JOINED_PART_BYTES = 16 * KIB
# Buffers that an encoder grew, and that it keeps for the next values: as many as connections at once, of the size of a
# pooled buffer at most.
MAX_IDLE_ENCODER_BUFFERS = 64

# Content codings

# Codings of one body, `identity` included. Two are rare, and each multiplies what a bomb expands to; curl stops at 5.
MAX_CONTENT_CODINGS = 5
# Decoded bytes for each byte from the wire. Text reaches 30 and records that repeat a few hundreds; deflate's most is
# 1,032. Apache's mod_deflate stops at 200.
MAX_DECODE_RATIO = 500
# Decoded bytes that are not held against the ratio: a short body of spaces is no bomb.
DECODE_RATIO_FREE_BYTES = 1 * MIB
# What a coding decodes in one step: the first block of CPython's output buffer, so that a full step is one allocation
# and is not put together from two.
DECODE_STEP_BYTES = 32 * KIB
# What a coding is handed in one step. zlib copies the part that it leaves, so this bounds the copying to half of what
# is decoded; larger pieces gain nothing.
DECODE_INPUT_BYTES = 16 * KIB
# Steps in one call, so that a body that decodes to nothing, or a chain of codings, cannot hold a tick: at most 1 MiB is
# decoded, in 1 to 4 ms.
MAX_DECODE_STEPS = 32
# gzip members or zstd frames of one body: in bgzip's blocks of 64 KiB this is 4 GiB. Each costs a new decompressor,
# and an empty one has nine bytes.
MAX_CODED_MEMBERS = 65_536
# The window of a zstd frame: RFC 9659 has clients refuse more.
MAX_ZSTD_WINDOW_BYTES = 8 * MIB

# Event streams

# The first buffer of an event stream, and its buffer as long as events are small: as much as a receive ring.
SSE_BUFFER_BYTES = 64 * KIB
# The data of one event unless told otherwise: pictures that come as base64 have a few MiB. Go's clients, which read
# lines by bufio.Scanner, stop at 64 KiB and are asked to raise it.
SSE_EVENT_BYTES = 16 * MIB
# The largest such bound that can be asked for: as much as a gathered body.
MAX_SSE_EVENT_BYTES = 1024 * MIB
# The id, type or retry of one event: an id goes back in a request's head, of which servers take 8 KiB.
MAX_SSE_FIELD_BYTES = 8 * KIB
# A reconnection time; a longer one counts as this. As MAX_TIMEOUT_S: a year.
MAX_SSE_RETRY_MS = 31_536_000_000
# The fields before an event's data, and an id, up to which a parser expects the next event to begin as the last one
# did: real ones have under 100 bytes.
MAX_SSE_SHAPE_BYTES = 256
# Types of events that one parser keeps as texts; others are decoded each time. APIs have a few dozen.
MAX_SSE_NAMES = 64
# Lines of data shorter than this are joined many at once: a step of Python for each costs more than searching it twice.
SSE_SHORT_LINE_BYTES = 256
# What is joined at once, and copied aside for it.
SSE_JOIN_BYTES = 16 * KIB
# The first buffer of an event stream in a Loop, where a thousand may have events waiting at once; it grows where one
# receive fills it.
SSE_LOOP_BUFFER_BYTES = 2 * KIB
# The bounds of the first and of the longest random pause before an event stream is connected to again: a server that
# restarts is back within seconds, and a feed should not be behind by much more than half a minute.
SSE_BACKOFF_FIRST_S = 0.5
SSE_BACKOFF_CAP_S = 30.0
# The longest reconnection time that is kept to in full, whatever a stream names: who asks for more would be forgotten.
SSE_RETRY_CAP_S = 3600.0
# Attempts at a stream that was never open, unless told otherwise: a wrong address is told within seconds.
SSE_FIRST_ATTEMPTS = 5
# The largest number of attempts that can be asked for; more is none at all.
MAX_SSE_ATTEMPTS = 1_000_000
# The longest silence of an event stream that a listener answers with: browsers and proxies give up after 30 s and more,
# and the standard advises a comment every 15 s.
SSE_HEARTBEAT_S = 15.0
# Events that an EventLog keeps for streams that come back, unless told otherwise, and their bytes: a minute of a feed
# that is as fast as anybody reads.
SSE_LOG_EVENTS = 1000
SSE_LOG_BYTES = 4 * MIB
# The largest such bounds that can be asked for.
MAX_SSE_LOG_EVENTS = 1_000_000
MAX_SSE_LOG_BYTES = 1024 * MIB
# Buckets of a histogram of times: one for each length in bits of a number of 63, so that no time needs a look at it.
TIME_BUCKETS = 64
# Series of requests that are counted by host, method and outcome: what OpenTelemetry's SDKs keep of one instrument.
MAX_REQUEST_SERIES = 2_000
# Receives in a row that need a quarter of a grown buffer at most, before it is replaced by a smaller one: one large
# event among ten small ones must not cost two buffers each time.
SSE_SHRINK_FILLS = 16

# Credentials and cookies

# What is read of all WWW-Authenticate fields of one answer. Negotiate's tickets are the longest and reach 12 KiB.
MAX_CHALLENGE_BYTES = 16 * KIB
# Challenges of one answer, and parameters of one challenge; RFC 7616 has ten, and servers offer up to four schemes.
MAX_CHALLENGES = 32
MAX_CHALLENGE_PARAMETERS = 32
# Challenges that one request answers: one in practice, two with a nonce that went stale. A server that asks for ever,
# or a callable that never gives up, ends here.
MAX_AUTH_ATTEMPTS = 4
# A netrc file: thousands of entries fit.
MAX_NETRC_BYTES = 1 * MIB
# Cookies of one jar, and of one domain in it. RFC 6265 section 6.1 asks for 3,000 and 50; browsers keep 180 a domain.
MAX_COOKIES = 3000
MAX_COOKIES_PER_DOMAIN = 180
# Name and value of one cookie, and one of its attributes, as in browsers (RFC 6265bis section 5.6); a longer attribute
# counts as absent.
MAX_COOKIE_BYTES = 4 * KIB
MAX_COOKIE_ATTRIBUTE_BYTES = 1 * KIB
# One Set-Cookie field: a cookie with every attribute at its longest fits. A longer field is not read at all.
MAX_SET_COOKIE_BYTES = 16 * KIB
# The cookies of one request: half of a head. Servers take 8 to 16 KiB; single sign-on makes up to 40.
MAX_COOKIE_HEADER_BYTES = 32 * KIB

# Queues

# Requests that one request queue holds until they are begun, unless told otherwise ...
QUEUE_PENDING = 1000
# ... and at most: a waiting request is about a kilobyte with its arguments, so a gigabyte.
MAX_QUEUE_PENDING = 1_000_000
# Threads of one queue unless told otherwise: each has one request under way. Browsers have six to an origin.
QUEUE_WORKERS = 8
# More threads than this are a job for a Loop: each has a stack, and all of them one interpreter lock.
MAX_QUEUE_WORKERS = 1024
# Exchanges that a queue has under way in a Loop unless told otherwise; the most is MAX_QUEUED_EXCHANGES.
QUEUE_IN_FLIGHT = 100
# Callers that wait for room in one full queue. Each is a thread that does nothing else.
MAX_QUEUE_SUBMITTERS = 4096
# How long the end of a queue waits for what is left. Kubernetes kills a process 30 s after it asked it to end.
QUEUE_STOP_TIMEOUT_S = 25.0

# Limiters

# Permits of one host unless told otherwise: as many as it may have connections. More would stand in the pool's line.
MAX_PERMITS_PER_HOST = 128
# Hosts that a limiter knows at once. One that nobody uses any more is forgotten, so these are hosts in use.
MAX_LIMITED_HOSTS = 1024
# The largest number of permits of one host, of hosts, and of tokens in a bucket that can be asked for: as many as there
# are ports.
MAX_LIMITER_COUNT = 65_536
# Tokens that may come to a bucket each second: one in each nanosecond, the finest step of the clocks.
MAX_TOKEN_RATE = 1_000_000_000
# Turns of one token bucket that were given back before their time came and are kept for who asks next.
MAX_RETURNED_TURNS = 1024

# WebSockets

# A message that is received, unless told otherwise, after it was inflated. The library websockets has 1 MiB, aiohttp
# 4 MiB, ws 100 MiB; what is larger is better sent in parts by the application, or asked for by name.
MAX_WEBSOCKET_MESSAGE_BYTES = 1 * MIB
# Frames of one message, empty ones included. ws has had 131,072 and 16,384; databases send results in tens of
# thousands. We keep nothing of a frame but its payload, so this bounds work, not memory.
MAX_WEBSOCKET_FRAGMENTS = 131_072
# Pings of a peer that does not take our pongs. One pong answers all pings before it (RFC 6455 section 5.5.3), so these
# cost no memory; as many as the control replies that HTTP/2 servers queue.
MAX_UNANSWERED_PINGS = 1000
# Frames of unfinished messages that one step takes before it lets others work: some 100 µs.
WEBSOCKET_STEP_FRAMES = 64
# Masking keys drawn from the system at once: a call for each would cost more than the masking of a small message.
MASK_KEY_BATCH_BYTES = 4 * KIB
# Keys as numpy takes them that wait to be used again: one for each thread that masks a large message at once.
MAX_IDLE_MASK_WORDS = 16
# Text that is checked at once: the text that the check makes is thrown away, and is four times as large at most.
UTF8_STEP_BYTES = 16 * KIB
# A message below this size is sent as it is, even where compression was agreed: what it could save is less than the
# headers of the packet that carries it.
MIN_DEFLATED_MESSAGE_BYTES = 128
# Streams (blocks marked as final) in one compressed message: RFC 7692 section 7.2.3.4 shows one. Each costs a new
# decompressor, and an empty one has two bytes.
MAX_INFLATE_STREAMS = 64
# Extensions of one Sec-WebSocket-Extensions, and parameters of one of them. Browsers offer one with one, RFC 7692
# knows four.
MAX_WEBSOCKET_EXTENSIONS = 16
MAX_EXTENSION_PARAMETERS = 16
# Subprotocols that one client offers; a head has room for them, and a server looks at each.
MAX_SUBPROTOCOLS = 64
# A connection on which nothing has come for so long is asked for a sign of life, unless told otherwise, and is dead
# after the second time without an answer. The library websockets has the same; nginx's proxies close after 60 s.
WEBSOCKET_PING_INTERVAL_S = 20.0
WEBSOCKET_PING_TIMEOUT_S = 20.0
# For the whole closing handshake, unless told otherwise, as in the library websockets.
WEBSOCKET_CLOSE_TIMEOUT_S = 10.0
# How long a client waits for the server to end the connection once both have said Close (RFC 6455 section 7.1.1), and
# how much it reads away: its own end, with bytes unread, would be a reset, which may destroy the Close that it sent.
WEBSOCKET_LINGER_S = 1.0
MAX_WEBSOCKET_LINGER_BYTES = 16 * MIB
# Messages that came while something else was waited for, the answer to a Ping say, and their bytes in all.
MAX_KEPT_MESSAGES = 1000
MAX_KEPT_BYTES = 16 * MIB
# A blocking WebSocket masks and sends a longer message in pieces of this size, which stay in a second-level cache.
WEBSOCKET_PIECE_BYTES = 128 * KIB
# The ring of a blocking WebSocket that has received a message too long for a receive ring and not for this one: the
# next such message needs no other memory, and comes with fewer system calls.
WEBSOCKET_LONG_RING_BYTES = 256 * KIB
# Such rings that a Client keeps for the next one who needs them: 2 MiB.
MAX_IDLE_LONG_RINGS = 8
# A blocking WebSocket that waits for bytes has a ring to receive them into at hand for so long, and none afterwards: to
# wait without one is two system calls more, which nobody notices who has waited.
WEBSOCKET_RING_WAIT_S = 0.1
# The body of the answer that refuses a WebSocket, as far as it is kept: a page that says why has a few KiB.
MAX_REFUSAL_BYTES = 64 * KIB

# Messages over TCP and UDP

# A message that is received or sent, unless told otherwise. Game messages have hundreds of bytes; gRPC has 4 MiB ...
MAX_MESSAGE_BYTES = 1 * MIB
# ... and at most: it lies in memory as a whole, at both ends.
MAX_MESSAGE_BYTES_CAP = 256 * MIB
# A delimiter between messages: HTTP's has four bytes, MIME's boundaries 74.
MAX_DELIMITER_BYTES = 128
# The ring of a connection that speaks: a thousand players in one tick take 4 MiB. One that a receive has filled gets
# RECEIVE_RING_BYTES, and one whose message is longer gets more, as its bytes come.
MESSAGE_RING_BYTES = 4 * KIB
# Rings that wait to be lent: 8 MiB of the small ones, 4 MiB of the large ones.
MAX_IDLE_MESSAGE_RINGS = 2048
# Memory of one Loop for received messages, lent or being put together. Beyond it connections are left unread.
MAX_MESSAGE_MEMORY_BYTES = 64 * MIB
# What one connection may have of that, and messages that wait to be taken or were taken in this turn: a flood of one
# cannot take what others need.
MESSAGE_QUOTA_BYTES = 1 * MIB
MAX_QUEUED_MESSAGES = 1024
# Messages of one connection that one step delivers before it goes to the back of the line: some 100 µs.
MESSAGES_PER_STEP = 64
# Bytes that wait for one peer before send() says FULL; WRITABLE follows when half of them have left.
MAX_UNSENT_BYTES = 1 * MIB
# What a quota, or MAX_UNSENT_BYTES, may be told at most: beyond a tebibyte it is a slip, no number.
MAX_QUOTA_BYTES = 1024 * 1024 * MIB
# Frames that wait for one peer, however short.
MAX_UNSENT_FRAMES = 4096
# Memory of one Loop for messages that were given in memory of the caller's, or reserved, and wait to be sent.
MAX_OUTGOING_BYTES = 64 * MIB
# A message up to this size is put together with its header in one object, which CPython's own allocator has room for.
JOINED_FRAME_BYTES = 384
# Frames that leave from where they lie in one system call: for more of them sendmsg() would malloc.
MAX_GATHERED_FRAMES = 6
# A datagram, unless told otherwise: above an Ethernet frame's 1,472, below which senders keep ...
MAX_DATAGRAM_BYTES = 2047
# ... and at most: what an IPv4 packet of 65,535 bytes has room for.
MAX_UDP_PAYLOAD_BYTES = 65_507
# Memory of datagrams that a socket delivered and that are not over: 2,048 of the usual size.
DATAGRAM_QUOTA_BYTES = 4 * MIB
# Datagrams that one step receives before others have their turn: half a millisecond or so.
DATAGRAMS_PER_STEP = 512
# Datagrams of one session that nobody took: the rest of them are dropped, so that one flood cannot take all memory.
MAX_QUEUED_DATAGRAMS = 256
# Addresses that one socket keeps sessions for.
MAX_DATAGRAM_SESSIONS = 10_000
# Datagrams of one host at once where there is a rate: a tick's of a few players behind one address.
DATAGRAM_BURST = 64
# Hosts whose rate is remembered: 10 MB, ...
MAX_LIMITED_ADDRESSES = 65_536
# ... and at most: as many as a /8 of IPv4 has, 2.5 GB.
MAX_LIMITED_ADDRESSES_CAP = 1 << 24
# A socket's buffer, as far as one may be asked for; the system has a bound of its own (net.core.rmem_max).
MAX_SOCKET_BUFFER_BYTES = 1024 * MIB
# Time for a message to arrive whole from its first byte on, and for a peer to say something at all.
MESSAGE_TIMEOUT_S = 30.0
MESSAGE_IDLE_TIMEOUT_S = 300.0

# Ticks

# The finest clock of steps: what is shorter than a tenth of a millisecond is no tick of a loop in Python.
MAX_TICK_RATE_HZ = 10_000
# Steps that a simulation makes up at once after a delay, unless told otherwise: a twelfth of a second at 60 Hz. More,
# and steps that are late make later ones later.
MAX_CATCH_UP_STEPS = 5

# Listeners

# Connections that one listener holds.
MAX_SERVER_CONNECTIONS = 10_000
# Steps of TLS handshakes with clients in one turn, however much time it has: with an RSA key of 2048 bits one costs a
# millisecond. The others wait in line for the next turn.
MAX_HANDSHAKES_PER_TURN = 8
# Requests in a row (pipelining) that one connection has answered in one step before it goes to the back of the line.
# The others wait as bytes in its one receive ring, and behind that its socket is left unread.
MAX_PIPELINED_REQUESTS = 16
# A request body that a handler asks for as a whole.
MAX_REQUEST_BODY_BYTES = 16 * MIB
# Time for a client's whole TLS handshake: as much as our own clients give to a server's.
SERVER_HANDSHAKE_TIMEOUT_S = 10.0
# Time for a request head to arrive whole (slow loris), for the next one to begin, and between two bytes of a body.
SERVER_HEAD_TIMEOUT_S = 10.0
SERVER_IDLE_TIMEOUT_S = 75.0
SERVER_BODY_TIMEOUT_S = 30.0
# Time for a client to take some of what is being sent to it, before its connection is given up.
SERVER_WRITE_TIMEOUT_S = 30.0
# Bytes of a streamed answer that wait for a client that does not read, before its handler is told so.
MAX_SERVER_UNSENT_BYTES = 1 * MIB
# Waiting pieces below this size are put together, so that a million of one byte are not a million objects.
SMALL_PIECE_BYTES = 4 * KIB
# Waiting pieces handed to one sendmsg; IOV_MAX is 1024 on Linux and may be 16 elsewhere (POSIX).
MAX_SENT_PIECES = 16
# What is still read, and for how long, from a client that was answered before its request was whole: a close with
# unread bytes resets the connection and may destroy the answer (RFC 9112 section 9.6). nginx reads for 5 s at a time.
SERVER_LINGER_S = 2.0
MAX_SERVER_LINGER_BYTES = 16 * MIB
# How long a listener stops accepting when the process has no descriptors left.
ACCEPT_RETRY_S = 0.5
# A request head is remembered by its connection, to recognise the next equal one, up to this size: browsers send 1 KiB.
MAX_REMEMBERED_HEAD_BYTES = 2 * KIB
# Serialised response heads that a listener remembers for the second that their Date is true; larger ones are not kept.
MAX_REMEMBERED_RESPONSE_HEADS = 256
MAX_REMEMBERED_RESPONSE_HEAD_BYTES = 4 * KIB
# listen(2) backlog; Linux cuts it to net.core.somaxconn.
LISTEN_BACKLOG = 1024

# HTTP/2 field blocks

# The header table of each direction, which repeated fields are kept in: what every connection begins with (RFC 9113
# section 6.5.2). Where a peer permits a larger one, ours stays: an origin's steady fields are a few hundred bytes.
HEADER_TABLE_BYTES = 4 * KIB
# A field block with more fields or bytes than a head may have is decoded all the same up to so many times as much,
# because the blocks after it depend on the table it leaves: its message alone fails. More ends the connection.
MAX_HEAD_OVERRUN = 4
# Memory for what the decoder of one connection knows: some 250 different heads of usual size.
MAX_KNOWN_BLOCK_BYTES = 512 * KIB
# Encoded blocks that one connection keeps, and their bytes: the requests that a program repeats within seconds.
MAX_ENCODED_BLOCKS = 256
MAX_ENCODED_BLOCK_BYTES = 256 * KIB
# How often fields of one name are put into the table before they are taken for ones that change with each message ...
MAX_INSERTIONS_PER_NAME = 4
# ... and for how many names this is tried: the table has room for 128 of the smallest entries, for some 60 usual ones.
MAX_INSERTED_NAMES = 64

# Testing

# Requests whose answers an HttpPeer remembers by their bytes: those of a test that repeats itself.
MAX_REMEMBERED_ANSWERS = 64
# What a recorder keeps in memory of bytes that moved, before all of it goes to a temporary file in one write: which
# costs a microsecond or two for each request that there are notes of, and few tests come this far.
RECORDED_MEMORY_BYTES = 64 * MIB
# A body that a cassette shows as text: some pages. What is longer nobody reads in a list, and is in a file beside it.
MAX_INLINE_BODY_BYTES = 16 * KIB
# A cassette, without such files: above it something else has its name.
MAX_CASSETTE_BYTES = 256 * MIB
# The longest body of a request that a mock or a cassette takes: longer than what any test has memory for, so that no
# bound of theirs stands in for one of the program under test.
MAX_MOCKED_BODY_BYTES = 1024 * 1024 * MIB
# How far a virtual clock goes, somewhat more than a day: a wait beyond is one for what never happens. The Pings of a
# silent WebSocket, one each 20 s, take a second of real time until then.
MAX_VIRTUAL_S = 100_000.0
# What a sender on a network in memory may have under way or unread: about what Linux allows a connection at first.
NETWORK_WINDOW_BYTES = 256 * KIB
# What is lost at once there: an Ethernet packet without its headers; and when it is sent again: TCP_RTO_MIN of Linux.
NETWORK_PACKET_BYTES = 1460
NETWORK_RETRANSMIT_S = 0.2

# Command line

# What `--count` of `turbosock ws` and `turbosock sse` takes.
MAX_SHOWN_COUNT = 10**9
# A line of the input of `turbosock ws`: a longer one is no line that anybody typed.
MAX_WS_LINE_BYTES = 16 * MIB
# Silence of a server after which `turbosock ws` closes behind an input that has ended: an answer takes a way there and
# back, a third of a second around the world, and the server's own time.
WS_WAIT_S = 1.0
# What `turbosock demo --seconds` takes: with its start, its counts and its end the demo stays below 20 s.
MAX_DEMO_S = 12.0
# Bots of one `turbosock arena`: as many as its server has room for, players and onlookers.
MAX_ARENA_BOTS = 1000
# `turbosock top`: requests in flight, each on a connection of its own unless HTTP/2 is spoken; how many begin a second
# at most; and how long a place rests behind a failure, so that a server that is down is not asked in a tight loop.
TOP_IN_FLIGHT = 10
MAX_TOP_IN_FLIGHT = 1_000
MAX_TOP_RATE_PER_S = 1_000_000.0
TOP_REST_S = 0.25
# An audit: the units that it lets go before it counts, those that it counts, and how many times as many tell growth.
# A thousand are enough for every cache to fill and for averages to stand still.
AUDIT_WARM_UP = 1_000
AUDIT_COUNT = 1_000
AUDIT_GROWTH_FACTOR = 10
# More units, or more of them at once, take memory of their own: a record of every allocation is kept until the end.
MAX_AUDIT_COUNT = 1_000_000
MAX_AUDIT_IN_FLIGHT = 1_000
# The longest that one of an audit's processes may run.
AUDIT_S = 600.0
# Lines of code that a report names of each kind.
AUDIT_SITES = 12

# TLS

# Contexts kept by one provider, least recently used first out. One with the system's roots holds about 1 MiB.
MAX_TLS_CONTEXTS = 64
# Sessions kept for resumption under one configuration; each has a ticket and the peer's chain, some 10 KiB.
MAX_TLS_SESSIONS = 256
# Looks at the sessions of one TLS context, to keep them for resumption, by the `ssl` engine: so many at once, and one
# more each SESSION_READ_INTERVAL_S. Each look leaves 6.2 KiB behind for ever in CPython 3.10 to 3.13 with OpenSSL 3.0
# (`SSLSocket.session` alone shows it), so a program that opens connections without end would grow without end.
MAX_SESSION_READS = 64
SESSION_READ_INTERVAL_S = 1.0
# Public key pins of one configuration. RFC 7469 expects a handful; a list of hundreds is a mistake.
MAX_PINS = 64
# Names offered in ALPN: the extension's list has a 16-bit length (RFC 7301); real ones have under 50 bytes.
MAX_ALPN_BYTES = 1 * KIB
# What OpenSSL's PEM reader takes as a password (PEM_BUFSIZE).
MAX_KEY_PASSWORD_BYTES = 1023
# Certificates that a listener chooses from by name; more are for its callback.
MAX_SERVER_CERTIFICATES = 4096
# The most that one call of `TlsSession.send` encrypts: without a bound, a whole upload would be one step of a tick.
MAX_TLS_SEND_BYTES = 256 * KIB
# The plaintext of one TLS record (RFC 8446 section 5.1): no read returns more than this.
TLS_RECORD_BYTES = 16 * KIB

# Time

# Defaults of `Timeouts`: a server that says nothing for 30 s is gone, and nothing waits for ever.
CONNECT_TIMEOUT_S = 10.0
HANDSHAKE_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 30.0
POOL_TIMEOUT_S = 30.0
TOTAL_TIMEOUT_S = 300.0
# The longest settable time: a year. Larger ones are mistakes (milliseconds, say) and overflow C types.
MAX_TIMEOUT_S = 31_536_000.0
# What a time of zero means to libraries that take one: the shortest that still is one.
MIN_WAIT_S = 1e-6
# A kernel timeout is moved only when it is off by more than this: a setsockopt costs 1.5 µs, 20 ms hurts nobody.
TIMEOUT_SLACK_NS = 20_000_000


def check_relations() -> None:
    """Raise AssertionError where two bounds contradict each other; run at import, called by a test."""
    assert RECEIVE_RING_BYTES >= MAX_HEAD_BYTES, "a head must fit the receive ring"
    assert MAX_CHUNK_LINE_BYTES < RECEIVE_RING_BYTES, "a chunk line must fit the receive ring"
    assert MAX_HEAD_FIELDS * 4 <= MAX_HEAD_BYTES, "the shortest field has four bytes: a:CRLF"
    assert MIN_BUCKET_BYTES & (MIN_BUCKET_BYTES - 1) == 0, "buckets are powers of two"
    assert MAX_BUCKET_BYTES & (MAX_BUCKET_BYTES - 1) == 0, "buckets are powers of two"
    assert MIN_BUCKET_BYTES <= SEGMENT_BYTES <= MAX_BUCKET_BYTES, "segments come from buckets"
    assert MIN_BUCKET_BYTES <= RECEIVE_RING_BYTES <= MAX_BUCKET_BYTES, "rings come from buckets"
    assert 10**MAX_CONTENT_LENGTH_DIGITS < 2**63, "a length must be a file offset"
    assert 16**MAX_CHUNK_SIZE_DIGITS < 2**63, "a chunk size must be a file offset"
    assert MAX_ZSTD_WINDOW_BYTES & (MAX_ZSTD_WINDOW_BYTES - 1) == 0, "zstd is told a power of two"
    assert DECODE_INPUT_BYTES <= DECODE_STEP_BYTES, "copied leftovers stay below what is decoded"
    assert SSE_EVENT_BYTES <= MAX_SSE_EVENT_BYTES, "defaults keep to their bounds"
    assert MIN_BUCKET_BYTES <= SSE_BUFFER_BYTES <= MAX_BUCKET_BYTES, "event buffers come from buckets"
    assert MIN_BUCKET_BYTES <= SSE_LOOP_BUFFER_BYTES <= SSE_BUFFER_BYTES, "event buffers grow"
    assert SSE_BACKOFF_FIRST_S <= SSE_BACKOFF_CAP_S <= SSE_RETRY_CAP_S, "pauses grow"
    assert SSE_LOG_EVENTS <= MAX_SSE_LOG_EVENTS and SSE_LOG_BYTES <= MAX_SSE_LOG_BYTES, "defaults keep to their bounds"
    assert SSE_HEARTBEAT_S < READ_TIMEOUT_S, "our own clients hear a heart before they give up"
    assert SSE_FIRST_ATTEMPTS <= MAX_SSE_ATTEMPTS, "defaults keep to their bounds"
    assert MAX_SSE_RETRY_MS == MAX_TIMEOUT_S * 1000, "the longest retry is the longest settable time"
    assert MAX_SSE_SHAPE_BYTES < MAX_SSE_FIELD_BYTES, "what is expected is within what is allowed"
    assert WEBSOCKET_LINGER_S <= WEBSOCKET_CLOSE_TIMEOUT_S, "the end of a closing handshake is a part of it"
    assert MAX_WEBSOCKET_MESSAGE_BYTES <= MAX_KEPT_BYTES, "one message can be kept"
    assert MASK_KEY_BATCH_BYTES % 4 == 0, "a masking key has four bytes"
    assert MAX_CONNECTIONS_PER_ORIGIN <= MAX_CONNECTIONS, "an origin cannot have more than all"
    assert MAX_IDLE_CONNECTIONS <= MAX_CONNECTIONS, "idle connections are connections"
    assert PREWARM_BUILDING <= MAX_PREWARM_READY, "nobody builds more than may be ready"
    assert PREWARM_BACKOFF_FIRST_S <= PREWARM_BACKOFF_CAP_S, "pauses grow"
    assert PREWARM_INTERVAL_S <= PREWARM_MAX_AGE_S, "what is ready outlives one look at it"
    assert DIAL_LOOK_S < PREWARM_JOIN_S <= PREWARM_CLOSE_WAIT_S, "who waits for a dial outlasts one look of it"
    assert REDIRECTS <= MAX_REDIRECTS and RETRIES < MAX_ATTEMPTS, "defaults keep to their bounds"
    assert RETRY_BACKOFF_FIRST_S <= RETRY_BACKOFF_CAP_S, "pauses grow"
    assert MAX_RETRY_BUDGET_PER_S * RETRY_BUDGET_WINDOW_S <= MAX_LIMITER_COUNT, "a budget is a token bucket"
    assert MAX_COOKIES_PER_DOMAIN <= MAX_COOKIES, "a domain cannot have more than all"
    assert MAX_COOKIE_BYTES < MAX_COOKIE_HEADER_BYTES < MAX_HEAD_BYTES, "a cookie fits its header, which fits a head"
    assert MAX_COOKIE_BYTES + 6 * MAX_COOKIE_ATTRIBUTE_BYTES <= MAX_SET_COOKIE_BYTES, "a cookie fits its field"
    assert FAILED_NAME_LIFETIME_S <= NAME_LIFETIME_S, "failures are forgotten first"
    assert CONNECT_TIMEOUT_S <= TOTAL_TIMEOUT_S and READ_TIMEOUT_S <= TOTAL_TIMEOUT_S, "parts fit the whole"
    assert QUEUE_PENDING <= MAX_QUEUE_PENDING and QUEUE_WORKERS <= MAX_QUEUE_WORKERS, "defaults keep to their bounds"
    assert QUEUE_IN_FLIGHT <= MAX_QUEUED_EXCHANGES, "a Loop holds what a queue begins"
    assert MAX_HTTP2_STREAMS * HTTP2_STREAM_WINDOW_BYTES <= MAX_HTTP2_WINDOWS_BYTES, "the first windows keep to theirs"
    assert HTTP2_STREAM_WINDOW_BYTES <= MAX_HTTP2_STREAM_WINDOW_BYTES, "windows grow"
    assert HTTP2_FORGIVEN_FRAMES < MAX_HTTP2_IDLE_FRAMES, "a flood in one receive is one"
    assert HTTP2_CONNECTION_WINDOW_BYTES > 4 * 16_384, "a frame cannot overrun the window before it is filled up"
    assert HTTP2_CONNECTION_WINDOW_BYTES < 2**31, "RFC 9113 knows no larger window"
    assert MESSAGE_RING_BYTES < RECEIVE_RING_BYTES < MESSAGE_QUOTA_BYTES < MAX_MESSAGE_MEMORY_BYTES, "quotas hold rings"
    assert FEW_POLL_BATCH < POLL_BATCH, "few are less"
    assert POLL_BATCH * 12 <= 512, "the epoll array stays inside pymalloc"


check_relations()

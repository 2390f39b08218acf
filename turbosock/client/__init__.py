"""Floor 7: requests and answers, as the blocking Client and the ticking Loop have them.

What is the same for both: `request` and `session` prepare, from `url`, `routes`, `cookies`, `auth/` and the bodies of
`form`, `multipart` and `serializers`; `exchange` is one request and its answer, `flow` what follows it (`redirects`,
`retries`), `middleware/` what stands around it.

The Client's: `client`, built upon `client_base` and `client_opening`, with `client_connections` and `blocking_dial`;
`response` is its exchange, `shared_http2` its connection of many threads, `websocket` and `blocking_event_stream` what
lasts longer, `thread_prewarmer` what is ready before it is asked for.

The Loop's, which itself is a floor above: `loop_services` says what its parts may ask of it. `loop_exchange` is its
exchange, built upon `exchange_body`, `exchange_connecting` and `exchange_ending`; `loop_requests` has those under way,
`events` tells what happened, `dials` and `dial_steps` connect. `loop_connection`, `loop_http2`, `loop_websocket`,
`loop_event_stream`, `loop_prewarm` and `message_dial` are the same things as above, taken in steps.
"""

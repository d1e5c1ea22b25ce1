-- Webhooks as they came: verified, not parsed. The row is the receipt; a provider gets its 2xx only after it.

-- name: land
insert into landing (provider, kind, query, body)
values (%(provider)s, %(kind)s, %(query)s, %(body)s)
returning landing_id

-- name: land_together
insert into landing (provider, kind, body)
select %(provider)s, landed.kind, landed.body
from unnest(%(kinds)s::text[], %(bodies)b::bytea[]) with ordinality as landed (kind, body, place)
order by landed.place

-- name: oldest_waiting_seconds
-- Age of the oldest landed webhook behind the watermark; no row back when all are loaded.
select extract(epoch from now() - received_at)::float8 as age_seconds
from landing
where (recorded_xact, landing_id) > (%(xact)s::text::xid8, %(last_id)s)
order by recorded_xact, landing_id
limit 1

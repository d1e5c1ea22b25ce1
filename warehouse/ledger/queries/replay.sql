-- What landed in a stretch of time and has been loaded, for reading it again. The feeds themselves are in `feeds.sql`.

-- name: landing_ids
select landing_id from landing
where received_at >= %(begin)s and received_at < %(end)s and provider <> all(%(without)s)
  and (recorded_xact, landing_id) <= (%(xact)s::text::xid8, %(last_id)s)

-- name: landings
select recorded_xact::text::bigint as xact, landing_id as id, provider, kind, received_at, query, body
from landing
where landing_id = any(%(landing_ids)s)
order by landing_id

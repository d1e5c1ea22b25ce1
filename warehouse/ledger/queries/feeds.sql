-- Append-only feeds, read strictly behind every open transaction: a row with a smaller id that commits
-- later also has a transaction id at or above the snapshot's xmin, so no reader can ever pass it by.

-- name: outcomes_after
select o.recorded_xact::text::bigint as xact, o.outcome_id as id, o.batch_id, o.send_id, b.lane, o.results,
       o.recorded_at
from outcome o join batch b using (batch_id)
where o.recorded_xact < pg_snapshot_xmin(pg_current_snapshot())
  and (o.recorded_xact, o.outcome_id) > (%(xact)s::text::xid8, %(last_id)s)
order by o.recorded_xact, o.outcome_id
limit %(limit)s

-- name: landings_after
select recorded_xact::text::bigint as xact, landing_id as id, provider, kind, received_at, query, body
from landing
where recorded_xact < pg_snapshot_xmin(pg_current_snapshot())
  and (recorded_xact, landing_id) > (%(xact)s::text::xid8, %(last_id)s)
order by recorded_xact, landing_id
limit %(limit)s

-- name: outcomes_waiting
select count(*) from outcome where (recorded_xact, outcome_id) > (%(xact)s::text::xid8, %(last_id)s)

-- name: landings_waiting
select count(*) from landing where (recorded_xact, landing_id) > (%(xact)s::text::xid8, %(last_id)s)

-- name: purge_outcomes
delete from outcome where (recorded_xact, outcome_id) <= (%(xact)s::text::xid8, %(last_id)s)
  and recorded_at < now() - make_interval(days => %(keep_days)s)

-- name: purge_landings
delete from landing where (recorded_xact, landing_id) <= (%(xact)s::text::xid8, %(last_id)s)
  and received_at < now() - make_interval(days => %(keep_days)s)

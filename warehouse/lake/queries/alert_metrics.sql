-- What alert rules measure in the lake, by organisation and channel, of messages accepted within the window. Every
-- query answers: subject, value, sample.

-- name: undelivered_share
-- Not delivered an hour after they were accepted: what is younger may still arrive.
select organisation_id || ' ' || channel as subject,
       count(*) filter (delivered_at is null)::double / count(*) as value, count(*) as sample
from core.message_status
where accepted_at between $now::timestamptz - to_seconds($window_seconds) and $now::timestamptz - interval 1 hour
  and organisation_id is not null
  -- A channel that never tells of deliveries says nothing by telling of none.
  and channel in (select channel from core.message_status where delivered_at is not null)
group by all

-- name: bounced_share
select organisation_id || ' ' || channel as subject,
       count(*) filter (bounced_at is not null)::double / count(*) as value, count(*) as sample
from core.message_status
where accepted_at > $now::timestamptz - to_seconds($window_seconds) and organisation_id is not null
group by all

-- name: complained_share
-- Of delivered ones.
select organisation_id || ' ' || channel as subject,
       count(*) filter (complained_at is not null)::double / count(*) as value, count(*) as sample
from core.message_status
where delivered_at > $now::timestamptz - to_seconds($window_seconds) and organisation_id is not null
group by all

-- name: unsubscribed_share
-- Of delivered ones.
select organisation_id || ' ' || channel as subject,
       count(*) filter (unsubscribed_at is not null)::double / count(*) as value, count(*) as sample
from core.message_status
where delivered_at > $now::timestamptz - to_seconds($window_seconds) and organisation_id is not null
group by all

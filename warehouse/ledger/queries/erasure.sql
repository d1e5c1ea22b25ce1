-- One person in the ledger: what there is, what goes, and how long anything is kept. Subjects are 16-byte hashes.

-- name: export_preferences
select organisation_id, channel, topic, is_wanted, source, changed_at from preference
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[])
order by channel, topic, changed_at

-- name: export_limits
select organisation_id, quiet_from, quiet_until, paused_until, weekly_cap, source, changed_at from personal_limit
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[]) order by changed_at

-- name: export_consents
select c.organisation_id, c.channel, c.purpose, c.kind, c.state, c.at, c.text_version, t.wording, c.source,
       host(c.ip_address) as ip_address, c.recorded_at
from consent c left join consent_text t using (organisation_id, text_version)
where c.organisation_id = %(organisation_id)s and c.subject = any(%(subjects)s::bytea[]) order by c.consent_id

-- name: export_suppressions
select organisation_id, channel, reason, scope, source, created_at from suppression
where organisation_id in (%(organisation_id)s, '*')
  and (contact_id = %(contact_id)s or address_key = any(%(subjects)s::bytea[])) order by created_at

-- name: export_recent_messages
select organisation_id, channel, encode(message_id, 'hex') as message_id, topic, sent_at from recent_message
where organisation_id = %(organisation_id)s and address_key = any(%(subjects)s::bytea[]) order by sent_at

-- name: export_last_inbound
select channel, at from last_inbound where address_key = any(%(subjects)s::bytea[])

-- name: batches_with_payload
select batch_id, send_id, status from batch
where send_id = any(%(send_ids)s::text[]) and payload is not null order by batch_id

-- name: payload
select batch_id, send_id, status, payload from batch where batch_id = %(batch_id)s and payload is not null

-- name: lock_payload
-- Only what waits may change; what a worker holds, it will put back or settle.
select batch_id, send_id, status, payload from batch
where batch_id = %(batch_id)s and status in ('planned', 'dead') and payload is not null
for update

-- name: shrink_batch
update batch set payload = %(payload)s, message_count = %(message_count)s where batch_id = %(batch_id)s

-- name: plans_not_queued
select distinct plan.send_id
from unnest(%(send_ids)s::text[], %(generations)s::int[]) as plan (send_id, generation)
join send s using (send_id)
where s.status <> 'cancelled'
  and not exists (select from enqueued e where e.send_id = plan.send_id and e.generation = plan.generation)
order by plan.send_id

-- name: outcomes_of_sends
select b.lane, o.results from outcome o join batch b using (batch_id) where o.send_id = any(%(send_ids)s::text[])

-- name: lone_contents
-- Contents that one finished batch of one message had to itself: they may hold that message's own text.
select b.content_id
from batch b
where b.send_id = any(%(send_ids)s::text[]) and b.content_id <> 'erased'
group by b.content_id
having count(*) = 1 and sum(b.message_count) = 1 and bool_and(b.payload is null)
   and not exists (select from batch other where other.content_id = b.content_id
                   and other.send_id <> all(%(send_ids)s::text[]))

-- name: put_erased_content
insert into content (content_id, body) values ('erased', '{}') on conflict do nothing

-- name: leave_contents
update batch set content_id = 'erased' where content_id = any(%(content_ids)s::text[]) and payload is null

-- name: delete_contents
delete from content c where content_id = any(%(content_ids)s::text[])
  and not exists (select from batch b where b.content_id = c.content_id)

-- name: delete_preferences
delete from preference
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[])

-- name: delete_limits
delete from personal_limit
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[])

-- name: withdraw_consents
-- Asking for erasure takes back every consent; from then on its record waits for the end of its term.
insert into consent (organisation_id, subject, channel, purpose, kind, state, at, source)
select organisation_id, subject, channel, purpose, kind, 'withdrawn', now(), 'erasure'
from (select distinct on (subject, channel, purpose) * from consent
      where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[])
      order by subject, channel, purpose, consent_id desc) latest
where state <> 'withdrawn'

-- name: blank_consents
-- What stays is evidence under a hash; where somebody sat is not needed for it.
update consent set ip_address = null
where organisation_id = %(organisation_id)s and subject = any(%(subjects)s::bytea[]) and ip_address is not null

-- name: delete_last_inbound
delete from last_inbound where address_key = any(%(subjects)s::bytea[])

-- name: delete_recent_messages
delete from recent_message
where organisation_id = %(organisation_id)s and address_key = any(%(subjects)s::bytea[])

-- name: landings_with
-- The pattern reads `bytea` as Postgres writes it: what is not ASCII as octal numbers.
select landing_id, query, body from landing
where encode(body, 'escape') ~* %(pattern)s or query ~* %(pattern)s
order by landing_id
for update

-- name: rewrite_landing
update landing set query = %(query)s, body = %(body)s where landing_id = %(landing_id)s

-- name: add_provider_erasure
insert into provider_erasure (provider, reference) values (%(provider)s, %(reference)s)

-- name: open_provider_erasures
select provider, reference from provider_erasure where done_at is null

-- name: due_provider_erasures
select erasure_id, provider, reference, attempts from provider_erasure
where done_at is null and due_at <= now() order by due_at, erasure_id limit %(limit)s
for update skip locked

-- name: provider_erasures_done
update provider_erasure set done_at = now(), reference = '', attempts = attempts + 1, last_error = null
where erasure_id = any(%(erasure_ids)s::bigint[])

-- name: provider_erasures_failed
update provider_erasure
set attempts = attempts + 1, last_error = %(error)s, due_at = now() + make_interval(secs => %(delay_seconds)s)
where erasure_id = any(%(erasure_ids)s::bigint[])

-- name: provider_erasures_waiting
-- How many wait, and how many of them are due.
select count(*), count(*) filter (where due_at <= now()) from provider_erasure where done_at is null

-- name: purge_consents
-- A consent's whole history goes once its last word, a withdrawal, is old enough; of what still holds nothing goes.
delete from consent c
where exists (select from consent last
    where last.organisation_id = c.organisation_id and last.channel = c.channel and last.subject = c.subject
      and last.purpose = c.purpose and last.state = 'withdrawn' and last.at < now() - make_interval(days => %(days)s)
      and not exists (select from consent later
          where later.organisation_id = last.organisation_id and later.channel = last.channel
            and later.subject = last.subject and later.purpose = last.purpose and later.consent_id > last.consent_id))

-- name: purge_audit
delete from audit where at < now() - make_interval(days => %(days)s)

-- name: purge_provider_erasures
delete from provider_erasure where done_at < now() - make_interval(days => %(days)s)

-- name: columns_of_tables
-- Every table of a database, whichever it is, with names and types of its columns.
select c.table_schema, c.table_name, array_agg(c.column_name::text order by c.ordinal_position),
       array_agg(c.data_type::text order by c.ordinal_position)
from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
where t.table_type = 'BASE TABLE' and c.table_schema not in ('pg_catalog', 'information_schema')
group by 1, 2 order by 1, 2

-- What the lake holds of one person, and what remains to be done once it was deleted.

-- name: plans_of_contact
select distinct send_id, generation from campaign.messages where contact_id = $contact_id

-- name: messages_of_contact
select message_id, send_id, lane from campaign.messages where contact_id = $contact_id

-- name: provider_ids_of_contact
-- Under which ids providers know messages to this contact.
with theirs as (select message_id from campaign.messages where contact_id = $contact_id)
select provider, provider_message_id from core.outcomes semi join theirs using (message_id)
where status = 'accepted'
union
select provider, provider_message_id from raw.provider_events semi join theirs using (message_id)

-- name: blank_contact
-- The row stays as the mark that keeps a later import from bringing the person back.
update core.contacts
set external_id = null, email = null, phone = null, name = null, language = null, time_zone = null, country = null,
    region = null, postcode = null, attributes = '{}', consent_source = null, consent_kind = null, consent_at = null,
    is_erased = true, updated_at = $now
where contact_id = $contact_id and not is_erased

-- name: purge_contact_rejects
delete from raw.contact_rejects
where import_id in (select import_id from raw.contact_imports where imported_at < $before)

-- name: tighten_statistics
-- In the catalog, which is Postgres: bounds of text columns as the files that are left have them; none where nothing is
-- left. Bounds that do not cover every file would hide rows, so a column whose files do not all tell theirs stays as it is.
-- Processes keep statistics by the number of the next file: with a new one, nobody writes remembered bounds back.
with files as (
    select c.table_id, c.column_id,
           min(s.min_value collate "C") as least, max(s.max_value collate "C") as greatest,
           coalesce(bool_and(s.min_value is not null and s.max_value is not null
                             or s.data_file_id is null or s.null_count = f.record_count), true) as is_told
    from public.ducklake_column c
    left join public.ducklake_data_file f on f.table_id = c.table_id and f.end_snapshot is null
    left join public.ducklake_file_column_stats s
        on s.data_file_id = f.data_file_id and s.table_id = c.table_id and s.column_id = c.column_id
    where c.end_snapshot is null and c.column_type = 'varchar'
    group by c.table_id, c.column_id
), tightened as (
    update public.ducklake_table_column_stats g
    set min_value = files.least, max_value = files.greatest
    from files
    where g.table_id = files.table_id and g.column_id = files.column_id and files.is_told
      and (g.min_value, g.max_value) is distinct from (files.least, files.greatest)
    returning g.table_id
)
update public.ducklake_snapshot set next_file_id = next_file_id + 1
where snapshot_id = (select max(snapshot_id) from public.ducklake_snapshot) and exists (select from tightened)

-- name: export_contact
select * from core.contacts where contact_id = $contact_id

-- name: export_imports
-- The import that first brought the contact, and the one that last changed it.
select i.import_id, i.organisation_id, i.source_name, i.imported_at
from raw.contact_imports i join core.contacts c using (organisation_id)
where c.contact_id = $contact_id and i.imported_at in (
    select min(imported_at) from raw.contact_imports
    where organisation_id = c.organisation_id and imported_at >= c.created_at
    union all
    select min(imported_at) from raw.contact_imports
    where organisation_id = c.organisation_id and imported_at >= c.updated_at)
order by i.imported_at

-- name: export_audiences
select a.*, s.campaign_id from campaign.audiences a left join campaign.sends s using (send_id)
where a.contact_id = $contact_id order by a.selected_at

-- name: export_decisions
select * from campaign.decisions where contact_id = $contact_id order by decided_at, send_id, channel

-- name: export_messages
select * from campaign.messages where contact_id = $contact_id order by planned_at, message_id

-- name: export_outcomes
select o.* from core.outcomes o semi join
    (select message_id from campaign.messages where contact_id = $contact_id) theirs using (message_id)
order by o.outcome_id

-- name: export_events
select * from core.events where contact_id = $contact_id order by occurred_at, event_id

-- name: export_provider_events
select e.* from raw.provider_events e semi join
    (select message_id from campaign.messages where contact_id = $contact_id) theirs using (message_id)
order by e.landing_id, e.position

-- name: export_message_status
select * from core.message_status where contact_id = $contact_id order by updated_at, message_id

-- name: export_business_events
select * from core.business_events where contact_id = $contact_id order by occurred_at, event_id

-- name: export_conversions
select * from core.conversions where contact_id = $contact_id order by occurred_at, event_id, message_id

-- name: export_contact_scores
select * from core.contact_scores where contact_id = $contact_id

-- name: export_channel_affinity
select * from core.channel_affinity where contact_id = $contact_id order by channel

-- name: export_send_hours
select * from core.send_hours where contact_id = $contact_id order by local_hour

-- name: make_may_hold
-- Quicker than any pattern, and never false where the pattern is true.
create or replace temp macro may_hold(text, anchor) as
    contains(translate(lower(text), ' ().+-', ''), anchor) or contains(text, '%2')

-- name: make_redacted
-- Twice, because two addresses may share what stands between them.
create or replace temp macro redacted(text, pattern) as
    regexp_replace(regexp_replace(text, pattern, '\1<erased>\2', 'gi'), pattern, '\1<erased>\2', 'gi')

-- name: redact_contact_imports
update raw.contact_imports
set source_name = redacted(source_name, $pattern)
where may_hold(source_name, $anchor) and regexp_matches(source_name, $pattern, 'i')

-- name: redact_contact_rejects
update raw.contact_rejects
set reason = redacted(reason, $pattern)
where may_hold(reason, $anchor) and regexp_matches(reason, $pattern, 'i')

-- name: redact_provider_events
update raw.provider_events
set raw_kind = redacted(raw_kind, $pattern), reason = redacted(reason, $pattern), code = redacted(code, $pattern),
    url = redacted(url, $pattern), user_agent = redacted(user_agent, $pattern), payload = redacted(payload, $pattern)
where (may_hold(raw_kind, $anchor) and regexp_matches(raw_kind, $pattern, 'i'))
   or (may_hold(reason, $anchor) and regexp_matches(reason, $pattern, 'i'))
   or (may_hold(code, $anchor) and regexp_matches(code, $pattern, 'i'))
   or (may_hold(url, $anchor) and regexp_matches(url, $pattern, 'i'))
   or (may_hold(user_agent, $anchor) and regexp_matches(user_agent, $pattern, 'i'))
   or (may_hold(payload, $anchor) and regexp_matches(payload, $pattern, 'i'))

-- name: redact_event_rejects
update raw.event_rejects
set reason = redacted(reason, $pattern)
where may_hold(reason, $anchor) and regexp_matches(reason, $pattern, 'i')

-- name: redact_events
update core.events
set reason = redacted(reason, $pattern), code = redacted(code, $pattern), url = redacted(url, $pattern),
    user_agent = redacted(user_agent, $pattern)
where (may_hold(reason, $anchor) and regexp_matches(reason, $pattern, 'i'))
   or (may_hold(code, $anchor) and regexp_matches(code, $pattern, 'i'))
   or (may_hold(url, $anchor) and regexp_matches(url, $pattern, 'i'))
   or (may_hold(user_agent, $anchor) and regexp_matches(user_agent, $pattern, 'i'))

-- name: redact_message_status
update core.message_status
set refusal_reason = redacted(refusal_reason, $pattern), failure_code = redacted(failure_code, $pattern),
    failure_reason = redacted(failure_reason, $pattern)
where (may_hold(refusal_reason, $anchor) and regexp_matches(refusal_reason, $pattern, 'i'))
   or (may_hold(failure_code, $anchor) and regexp_matches(failure_code, $pattern, 'i'))
   or (may_hold(failure_reason, $anchor) and regexp_matches(failure_reason, $pattern, 'i'))

-- name: redact_business_events
update core.business_events
set properties = redacted(properties, $pattern)
where may_hold(properties, $anchor) and regexp_matches(properties, $pattern, 'i')

-- name: redact_outcomes
update core.outcomes
set reason = redacted(reason, $pattern), code = redacted(code, $pattern)
where (may_hold(reason, $anchor) and regexp_matches(reason, $pattern, 'i'))
   or (may_hold(code, $anchor) and regexp_matches(code, $pattern, 'i'))

-- name: rows_of_file_with
-- Rows of a file that hold the pattern anywhere, also inside of lists and structures.
select count(*) from (select file::varchar as text from read_parquet($path) as file)
where may_hold(text, $anchor) and regexp_matches(text, $pattern, 'i')

-- name: delete_contact_scores
delete from core.contact_scores where contact_id = $contact_id

-- name: delete_send_hours
delete from core.send_hours where contact_id = $contact_id

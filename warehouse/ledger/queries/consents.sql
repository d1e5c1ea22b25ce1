-- Who agreed to what. Append-only; every row leaves an audit row in the same statement.

-- name: record
-- What an import brings twice is there once. An older statement that comes in late does not undo a newer one.
with told as (
    select distinct * from unnest(
        %(organisation_ids)s::text[], %(subjects)s::bytea[], %(channels)s::text[], %(purposes)s::text[],
        %(kinds)s::text[], %(states)s::text[], %(ats)s::timestamptz[], %(text_versions)s::text[],
        %(sources)s::text[], %(ip_addresses)s::inet[]
    ) as told (organisation_id, subject, channel, purpose, kind, state, at, text_version, source, ip_address)
), added as (
    insert into consent (organisation_id, subject, channel, purpose, kind, state, at, text_version, source,
                         ip_address)
    select * from told
    where not exists (
        select from consent c
        where c.organisation_id = told.organisation_id and c.channel = told.channel
          and c.subject = told.subject and c.purpose = told.purpose
          and (c.kind, c.state, c.at, c.source) = (told.kind, told.state, told.at, told.source)
          and c.text_version is not distinct from told.text_version
          and c.ip_address is not distinct from told.ip_address)
    order by at
    returning organisation_id, subject, channel, purpose, kind, state, at
)
insert into audit (actor, action, subject, details)
select %(actor)s, 'consent', concat_ws('/', organisation_id, channel, encode(subject, 'hex')),
       jsonb_build_object('purpose', purpose, 'kind', kind, 'at', at, 'after', state, 'before', (
           select c.state from consent c
           where c.organisation_id = added.organisation_id and c.channel = added.channel
             and c.subject = added.subject and c.purpose = added.purpose
           order by c.at desc, c.consent_id desc limit 1))
from added

-- name: are_few
select count(*) <= %(at_most)s from (select from consent where organisation_id = %(organisation_id)s
                                      limit %(at_most)s + 1) c

-- name: latest
-- Subjects that are null are everybody's.
-- The purpose's own row before the one for every purpose.
select distinct on (subject)
       subject, channel, purpose, kind, state, at, text_version, source, host(ip_address)
from consent
where organisation_id = %(organisation_id)s and channel = %(channel)s and purpose in (%(purpose)s, '*')
  and (%(subjects)s::bytea is null or subject = any(array(
      select substring(%(subjects)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(subjects)s::bytea) / 16 - 1) as n)))
order by subject, purpose = %(purpose)s desc, at desc, consent_id desc

-- name: history
select subject, channel, purpose, kind, state, at, text_version, source, host(ip_address)
from consent
where organisation_id = %(organisation_id)s and channel in ('email', 'sms', 'whatsapp')
  and subject = any(array(
      select substring(%(subjects)s::bytea from 16 * n + 1 for 16)
      from generate_series(0, length(%(subjects)s::bytea) / 16 - 1) as n))
order by consent_id

-- name: put_text
-- The first wording stays and comes back, for the caller to compare.
with put as (
    insert into consent_text (organisation_id, text_version, wording)
    values (%(organisation_id)s, %(text_version)s, %(wording)s)
    on conflict (organisation_id, text_version) do update set wording = consent_text.wording
    returning wording, xmax = 0 as is_new
), noted as (
    insert into audit (actor, action, subject, details)
    select %(actor)s, 'consent_text', concat_ws('/', %(organisation_id)s::text, %(text_version)s::text),
           jsonb_build_object('after', wording)
    from put where is_new
)
select wording, is_new from put

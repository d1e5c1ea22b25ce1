/* ---
description: How many contacts each send was for, and how many of them may not get it.
grain: one send that has an audience
key: send_id
group: analytics
owner: team:analysts
incremental: send_id
after_send: true
chart: {name: audience_by_send, of: sum(audience), by: send_id}
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, unique, {relation: campaign.sends.send_id}]}
  audience: {type: bigint, unit: contacts, description: Contacts that were selected., tests: [not_null]}
  excluded: {type: bigint, unit: contacts, description: "Of them, those whom rules keep from every channel.", tests: [not_null]}
checks:
  nobody_twice: select send_id from core.send_audience where excluded > audience
--- */

-- name: changed
select distinct send_id from campaign.audiences where selected_at > $since
union
select distinct send_id from campaign.decisions where decided_at > $since
union
-- Whose audience is empty now.
select send_id from core.send_audience anti join (select distinct send_id from campaign.audiences) using (send_id)

-- name: model
with selected as (
    select send_id, count(*) as audience from campaign.audiences semi join changed using (send_id) group by send_id
),
decided as (
    select send_id, contact_id, bool_and(decision = 'excluded') as is_excluded
    from campaign.decisions semi join changed using (send_id)
    group by send_id, contact_id
),
excluded as (
    select send_id, count(*) as excluded from decided where is_excluded group by send_id
)
select send_id, audience, coalesce(excluded, 0) as excluded
from selected left join excluded using (send_id)

/* ---
description: Which rules kept how many contacts from each send, by channel. Rules that only make a message wait are not here.
grain: one send, channel and rule
key: [send_id, channel, rule_id]
group: analytics
owner: team:analysts
incremental: send_id
freshness_hours: 26
chart: {name: exclusions_by_rule, of: sum(contacts), by: rule_id}
figures:
  exclusions: sum(contacts)
columns:
  send_id: {type: varchar, description: The send., tests: [not_null, {relation: campaign.sends.send_id}]}
  campaign_id:
  organisation_id: {type: varchar, description: Whose send it is., tests: [not_null]}
  channel:
  rule_id: {type: varchar, description: The rule., tests: [not_null]}
  contacts: {type: bigint, unit: contacts, description: "Contacts it kept from this channel; they may get the send by another. Who broke several rules counts for each.", tests: [not_null]}
  sole_contacts: {type: bigint, unit: contacts, description: "Of them, those whom no other rule kept from it.", tests: [not_null]}
checks:
  sole_ones_are_some: select send_id from mart.exclusions where sole_contacts > contacts or contacts = 0
--- */

-- name: changed
select distinct send_id from campaign.decisions where decided_at > $since
union
-- Whose decisions were all taken back.
select send_id from mart.exclusions anti join (select distinct send_id from campaign.decisions) using (send_id)

-- name: model
with excluded as (
    -- Windows (by their names) make messages wait; they keep them back for good only where none of them ever opens.
    select send_id, channel,
           list_distinct([rule.rule_id for rule in rules
                          if not regexp_matches(rule.rule_id, '(-hours|^daytime|^day-off)$')
                             or rule.evidence like '%never open%']) as rule_ids
    from campaign.decisions semi join changed using (send_id)
    where decision = 'excluded'
),
broken as (
    select send_id, channel, unnest(rule_ids) as rule_id, len(rule_ids) = 1 as is_sole from excluded
)
select b.send_id, n.campaign_id, n.organisation_id, b.channel, b.rule_id,
       count(*) as contacts, count(*) filter (b.is_sole) as sole_contacts
from broken b
join campaign.sends n using (send_id)
group by all

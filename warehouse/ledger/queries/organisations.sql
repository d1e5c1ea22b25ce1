-- What is known of organisations beyond their own rows.

-- name: channels
-- Of the campaigns as they are now: a channel given up is none to choose.
select distinct channel
from (select distinct on (campaign_id) spec from campaign_version
      where organisation_id = %(organisation_id)s order by campaign_id, version desc) as current
cross join jsonb_array_elements_text(current.spec -> 'channels') as channel

-- name: only
-- No row unless there is exactly one.
select min(organisation_id) from organisation having count(*) = 1

-- How many contacts listen, and how much?
select organisation_id, audience_type, contacts, round(contact_share, 4) as contact_share,
       round(mean_engagement_score, 3) as mean_engagement_score, engaged_30_days
from mart.contact_engagement
order by organisation_id, mean_engagement_score desc nulls last

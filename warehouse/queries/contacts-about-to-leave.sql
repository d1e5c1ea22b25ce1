-- Which contacts used to read and have fallen silent?
-- Ids only; `comms status CONTACT` shows whom they belong to, and notes that you looked.
select contact_id, organisation_id, delivered, human_opens, human_clicks, last_engaged_at, round(churn_risk, 3) as churn_risk
from core.contact_scores
where churn_risk between 0.5 and 0.999 and human_opens + human_clicks >= 2
order by churn_risk desc, last_engaged_at
limit 200

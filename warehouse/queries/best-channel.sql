-- Through which channel are contacts best reached?
select organisation_id, coalesce(best_channel, '(none yet)') as best_channel, count(*) as contacts,
       round(avg(engagement_score), 3) as mean_engagement_score
from core.contact_scores
group by organisation_id, best_channel
order by organisation_id, contacts desc

-- How many opens and clicks are not by people?
select channel, kind, count(*) as events, count(*) filter (verdict = 'human') as human,
       count(*) filter (verdict = 'proxy') as proxy, count(*) filter (verdict = 'machine') as machine,
       count(*) filter (verdict = 'unknown') as unknown,
       round(count(*) filter (verdict = 'human') / count(*), 4) as human_share
from core.events
where kind in ('opened', 'clicked')
group by channel, kind
order by channel, kind

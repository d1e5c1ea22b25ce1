-- By which evidence are opens and clicks taken for machines'?
select reason, kind, count(*) as events
from (select kind, unnest(verdict_reasons) as reason from core.events where verdict in ('machine', 'proxy'))
group by reason, kind
order by events desc, reason, kind

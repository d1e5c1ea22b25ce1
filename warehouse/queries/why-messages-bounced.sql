-- Why did messages bounce or fail, and with which codes?
select channel, bounce_class, code, sum(messages) as messages, count(distinct domain) as domains
from mart.bounces
group by channel, bounce_class, code
order by messages desc, channel, bounce_class
limit 100

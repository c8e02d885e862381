import { bars, type Dashboard, graph, row, stat } from './panels.ts'

const rangeShare = (sli: string): string =>
  `1 - sum(increase(purser_sli_bad_events_total{sli="${sli}",instance=~"$instance"}[$__range])) / sum(increase(purser_sli_events_total{sli="${sli}",instance=~"$instance"}[$__range]))`
const share = { unit: 'percentunit', width: 6 }

/** Whether the service keeps its word, for those who do not run it. */
export const executive: Dashboard = {
  uid: 'purser-executive',
  title: 'Purser / Executive',
  description: 'Whether the service keeps its objectives.',
  from: 'now-7d',
  panels: [
    row('In the time shown'),
    stat('Containers that started', rangeShare('container_start_success'), share),
    stat('Requests without error', rangeShare('api_errors'), share),
    stat('Uses of images without a fetch', rangeShare('image_cache_hits'), share),
    stat('Tasks that did not crash', rangeShare('crashes'), share),
    stat(
      'Containers started',
      'sum(increase(purser_container_starts_total{outcome="succeeded",instance=~"$instance"}[$__range]))',
      { width: 6 },
    ),
    stat('Out of memory', 'sum(increase(purser_task_oom_kills_total{instance=~"$instance"}[$__range]))', { width: 6 }),
    stat('Shims lost', 'sum(increase(purser_shim_losses_total{instance=~"$instance"}[$__range]))', { width: 6 }),
    stat('Nodes', 'count(purser_build_info{instance=~"$instance"})', { width: 6 }),
    row('Error budgets'),
    bars(
      'Budget left of 30 days, worst node',
      [{ expr: 'min by (sli) (purser:sli_budget_left:ratio30d{instance=~"$instance"})', legend: '{{sli}}' }],
      {
        bad: { below: 0 },
        description: 'All of it: nothing went wrong. Below 0: more than may. Needs a Prometheus that keeps 30 days.',
      },
    ),
    graph(
      'How fast budgets are used (6 h)',
      [{ expr: 'max by (sli) (purser:sli_burn:rate6h{instance=~"$instance"})', legend: '{{sli}}' }],
      { width: 12, description: '1: just as fast as may be.' },
    ),
    row('How much, how fast'),
    graph('Containers started per hour', [
      {
        expr: 'sum by (outcome) (rate(purser_container_starts_total{instance=~"$instance"}[1h])) * 3600',
        legend: '{{outcome}}',
      },
    ]),
    graph(
      'Start, 95 of 100 are faster',
      [
        {
          expr: 'histogram_quantile(0.95, sum by (image, le) (rate(purser_container_start_duration_seconds_bucket{instance=~"$instance"}[1h])))',
          legend: 'image {{image}}',
        },
      ],
      { unit: 's' },
    ),
    graph('Disk used', [{ expr: 'purser_disk_used_ratio{instance=~"$instance"}', legend: '{{instance}}' }], {
      unit: 'percentunit',
    }),
  ],
}

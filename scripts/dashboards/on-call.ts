import { type Dashboard, graph, row, stat, table } from './panels.ts'

const p95 = (metric: string, by: string): string =>
  `histogram_quantile(0.95, sum by (${by}, le) (rate(${metric}_bucket{instance=~"$instance"}[$__rate_interval])))`
const seconds = { unit: 's' }

/** What is wrong, and where it comes from, for those who were woken. */
export const onCall: Dashboard = {
  uid: 'purser-on-call',
  title: 'Purser / On call',
  description: 'What is wrong now, and where it comes from.',
  from: 'now-3h',
  panels: [
    table('Alerts', 'ALERTS{alertname=~"Purser.+",instance=~"$instance"}'),
    row('Conditions'),
    stat('Nodes that answer', 'sum(up{job="purser",instance=~"$instance"})'),
    stat('In maintenance', 'sum(purser_maintenance{instance=~"$instance"})', { bad: { from: 1 } }),
    stat('Redis answers', 'min(purser_redis_up{instance=~"$instance"})', { bad: { below: 1 } }),
    stat('Sealing fails', 'max(purser_log_sealing_failed{instance=~"$instance"})', { bad: { from: 1 } }),
    stat('Projections stopped', 'sum(purser_projection_stopped{instance=~"$instance"})', { bad: { from: 1 } }),
    stat('Disk used', 'max(purser_disk_used_ratio{instance=~"$instance"})', {
      unit: 'percentunit',
      bad: { from: 0.8 },
    }),
    row('Objectives'),
    graph(
      'Budget use, 5 m',
      [{ expr: 'purser:sli_burn:rate5m{instance=~"$instance"}', legend: '{{sli}} {{instance}}' }],
      {
        description: 'Above 14.4, with the hour: a page.',
      },
    ),
    graph('Budget use, 1 h', [
      { expr: 'purser:sli_burn:rate1h{instance=~"$instance"}', legend: '{{sli}} {{instance}}' },
    ]),
    graph(
      'Budget use, 6 h',
      [{ expr: 'purser:sli_burn:rate6h{instance=~"$instance"}', legend: '{{sli}} {{instance}}' }],
      {
        description: 'Above 6, with half an hour: a page. Above 1, with three days: a ticket.',
      },
    ),
    row('Containers'),
    graph(
      'Starts',
      [
        {
          expr: 'sum by (outcome) (rate(purser_container_starts_total{instance=~"$instance"}[$__rate_interval]))',
          legend: '{{outcome}}',
        },
      ],
      { unit: 'ops' },
    ),
    graph(
      'Ends',
      [
        {
          expr: 'sum by (outcome) (rate(purser_task_exits_total{instance=~"$instance"}[$__rate_interval]))',
          legend: '{{outcome}}',
        },
      ],
      { unit: 'ops' },
    ),
    graph(
      'Start, p95',
      [{ expr: p95('purser_container_start_duration_seconds', 'image'), legend: 'image {{image}}' }],
      seconds,
    ),
    row('Images and snapshots'),
    graph(
      'Pulls that fail',
      [
        {
          expr: 'sum by (code) (rate(purser_image_pull_failures_total{instance=~"$instance"}[$__rate_interval]))',
          legend: '{{code}}',
        },
      ],
      { unit: 'ops', description: 'unavailable: a registry does not answer.' },
    ),
    graph('Pull, p95', [{ expr: p95('purser_image_pull_duration_seconds', 'cache'), legend: '{{cache}}' }], seconds),
    graph(
      'Operations on snapshots that fail',
      [
        {
          expr: 'sum by (operation) (rate(purser_snapshot_operations_total{outcome="failed",instance=~"$instance"}[$__rate_interval]))',
          legend: '{{operation}}',
        },
      ],
      { unit: 'ops' },
    ),
    row('Commands and API'),
    graph('Commands that wait or run', [
      { expr: 'sum by (worker) (purser_commands_active{instance=~"$instance"})', legend: '{{worker}}' },
    ]),
    graph(
      'Commands that fail',
      [
        {
          expr: 'sum by (type) (rate(purser_commands_total{outcome="failed",instance=~"$instance"}[$__rate_interval])) > 0',
          legend: '{{type}}',
        },
      ],
      { unit: 'ops' },
    ),
    graph(
      'Wait for a worker, p95',
      [{ expr: p95('purser_command_wait_duration_seconds', 'worker'), legend: '{{worker}}' }],
      seconds,
    ),
    graph(
      'Requests by status',
      [
        {
          expr: 'sum by (status) (rate(purser_api_request_duration_seconds_count{instance=~"$instance"}[$__rate_interval]))',
          legend: '{{status}}',
        },
      ],
      { unit: 'reqps' },
    ),
    graph(
      'Requests, p95',
      [{ expr: 'purser:api_request_duration_seconds:p95_5m{instance=~"$instance"}', legend: '{{instance}}' }],
      seconds,
    ),
    graph(
      'Append to the log, p99',
      [{ expr: 'purser:log_append_duration_seconds:p99_10m{instance=~"$instance"}', legend: '{{instance}}' }],
      seconds,
    ),
  ],
}

import { type Dashboard, graph, row, table } from './panels.ts'

const rate = (metric: string, by: string): string =>
  `sum by (${by}) (rate(${metric}{instance=~"$instance"}[$__rate_interval]))`
const quantile = (share: number, metric: string, by: string): string =>
  `histogram_quantile(${share}, sum by (${by}, le) (rate(${metric}_bucket{instance=~"$instance"}[$__rate_interval])))`
const gauge = (metric: string, legend: string) => [{ expr: `${metric}{instance=~"$instance"}`, legend }]
const seconds = { unit: 's' }
const bytes = { unit: 'bytes' }

/** Everything that the daemon tells of itself, for those who look for a cause. */
export const debug: Dashboard = {
  uid: 'purser-debug',
  title: 'Purser / Debug',
  description: 'Everything that the daemon tells of itself.',
  from: 'now-1h',
  panels: [
    table('Versions', 'purser_build_info{instance=~"$instance"}'),
    row('API'),
    graph(
      'Requests by route',
      [{ expr: rate('purser_api_request_duration_seconds_count', 'route'), legend: '{{route}}' }],
      { unit: 'reqps' },
    ),
    graph(
      'Requests by route, p95',
      [{ expr: quantile(0.95, 'purser_api_request_duration_seconds', 'route'), legend: '{{route}}' }],
      seconds,
    ),
    graph('Streams open', gauge('purser_api_streams_open', '{{route}}')),
    graph('Streams cut off', [{ expr: rate('purser_api_streams_cut_off_total', 'route'), legend: '{{route}}' }], {
      unit: 'ops',
    }),
    row('Commands'),
    graph('Commands by type', [{ expr: `${rate('purser_commands_total', 'type')} > 0`, legend: '{{type}}' }], {
      unit: 'ops',
    }),
    graph('Commands that wait or run', gauge('purser_commands_active', '{{worker}}')),
    graph(
      'Wait, p95',
      [{ expr: quantile(0.95, 'purser_command_wait_duration_seconds', 'worker'), legend: '{{worker}}' }],
      seconds,
    ),
    graph(
      'Service, p50',
      [{ expr: quantile(0.5, 'purser_command_service_duration_seconds', 'worker'), legend: '{{worker}}' }],
      seconds,
    ),
    graph(
      'Service, p95',
      [{ expr: quantile(0.95, 'purser_command_service_duration_seconds', 'worker'), legend: '{{worker}}' }],
      seconds,
    ),
    graph('Tasks', gauge('purser_tasks', '{{status}}')),
    row('Log'),
    graph(
      'Events',
      [{ expr: 'rate(purser_log_position{instance=~"$instance"}[$__rate_interval])', legend: '{{instance}}' }],
      { unit: 'ops' },
    ),
    graph(
      'Append',
      [
        { expr: quantile(0.5, 'purser_log_append_duration_seconds', 'instance'), legend: 'p50' },
        { expr: quantile(0.99, 'purser_log_append_duration_seconds', 'instance'), legend: 'p99' },
      ],
      seconds,
    ),
    graph('Not sealed yet', [
      { expr: 'purser_log_position{instance=~"$instance"} - purser_log_sealed_position', legend: '{{instance}}' },
    ]),
    graph('Segments', gauge('purser_log_segments', '{{instance}}')),
    graph('Archive', gauge('purser_log_archive_bytes', '{{instance}}'), bytes),
    graph('Projections behind', gauge('purser_projection_lag_events', '{{projection}}')),
    row('Redis and disk'),
    graph(
      'Memory of Redis',
      [
        ...gauge('purser_redis_memory_used_bytes', 'used'),
        ...gauge('purser_redis_memory_max_bytes', 'maxmemory; 0: none'),
      ],
      bytes,
    ),
    graph('Content', gauge('purser_content_bytes', '{{instance}}'), bytes),
    graph('Snapshots', gauge('purser_snapshot_bytes', '{{snapshotter}}'), bytes),
    graph('Number of blobs and snapshots', [
      ...gauge('purser_content_blobs', 'blobs'),
      ...gauge('purser_snapshots', '{{snapshotter}}'),
    ]),
    graph(
      'Disk',
      [...gauge('purser_disk_available_bytes', 'available'), ...gauge('purser_disk_size_bytes', 'size')],
      bytes,
    ),
    row('Process'),
    graph('CPU', [
      {
        expr: 'rate(process_cpu_seconds_total{job="purser",instance=~"$instance"}[$__rate_interval])',
        legend: '{{instance}}',
      },
    ]),
    graph(
      'Memory',
      [
        ...gauge('process_resident_memory_bytes', 'resident'),
        ...gauge('nodejs_heap_size_used_bytes', 'heap'),
        ...gauge('nodejs_external_memory_bytes', 'external'),
      ],
      bytes,
    ),
    graph(
      'Event loop lag',
      [...gauge('nodejs_eventloop_lag_p99_seconds', 'p99'), ...gauge('nodejs_eventloop_lag_max_seconds', 'max')],
      seconds,
    ),
    graph('Garbage collection', [{ expr: rate('nodejs_gc_duration_seconds_sum', 'kind'), legend: '{{kind}}' }], {
      unit: 'percentunit',
    }),
    graph('Open files', gauge('process_open_fds', '{{instance}}')),
    graph(
      'Started',
      [{ expr: 'time() - process_start_time_seconds{job="purser",instance=~"$instance"}', legend: '{{instance}}' }],
      seconds,
    ),
  ],
}

/** Series by what they are called without job and instance, with values in promtool's notation: one a step. */
export type Series = Readonly<Record<string, string>>

export interface Case {
  /** What the test says: why it fires, or why it does not. */
  because: string
  at: string
  series: Series
  /** Minutes between two values; 1 when left out. Long stories take long to evaluate in short steps. */
  step?: number
}

export interface Alert {
  fires: readonly Case[]
  silent: readonly Case[]
  /** Maintenance does not silence it. */
  always?: true
}

const HOUR = 60
/** Steps that series have, at most. */
const LONG = 6 * HOUR

export const constant = (value: number): string => `${value}x${LONG}`
const rising = (perStep: number): string => `0+${perStep}x${LONG}`
/** Nothing for some steps, then so much in each. */
const later = (steps: number, perStep: number): string => `0x${steps} 0+${perStep}x${LONG}`
/** So much in each of some steps, then nothing more. */
const earlier = (steps: number, perStep: number): string => `0+${perStep}x${steps} ${perStep * steps}x${LONG}`
/** One for all of them, some steps after the beginning. */
const single = (steps: number): string => `0x${steps} 1x${LONG}`

const RATIOS = {
  container_start_success: 0.005,
  cached_pull_latency: 0.05,
  api_latency: 0.05,
  api_errors: 0.005,
  snapshot_errors: 0,
  crashes: 0.005,
  image_cache_hits: 0.15,
  warm_claims: 0.1,
  warm_claim_latency: 0.05,
  job_success: 0.01,
  job_wait: 0.05,
}
const PER_HOUR = { shim_loss: 1, oom_kills: 0 }

/** A node that does its work. */
export const CALM: Series = {
  up: constant(1),
  purser_maintenance: constant(0),
  purser_maintenance_end_timestamp_seconds: constant(0),
  process_start_time_seconds: constant(1_000_000),
  purser_redis_up: constant(1),
  purser_redis_memory_used_bytes: constant(1e8),
  purser_redis_memory_max_bytes: constant(2e8),
  purser_tasks_stuck: constant(0),
  'purser_pools{standing="failing"}': constant(0),
  'purser_pools{standing="starved"}': constant(0),
  purser_disk_used_ratio: constant(0.4),
  purser_disk_available_bytes: constant(1e11),
  purser_log_position: rising(100),
  purser_log_sealed_position: rising(99),
  purser_log_sealing_failed: constant(0),
  nodejs_eventloop_lag_p99_seconds: constant(0.01),
  'purser_projection_stopped{projection="sli"}': constant(0),
  'purser_projection_lag_events{projection="sli"}': constant(3),
  'purser_commands_active{worker="task"}': constant(1),
  'purser_command_wait_duration_seconds_count{worker="task"}': rising(10),
  'purser_command_wait_duration_seconds_bucket{worker="task",le="1"}': rising(10),
  'purser_command_wait_duration_seconds_bucket{worker="task",le="60"}': rising(10),
  'purser_command_wait_duration_seconds_bucket{worker="task",le="+Inf"}': rising(10),
  'purser_command_service_duration_seconds_count{worker="task"}': rising(10),
  'purser_log_append_duration_seconds_bucket{le="0.01"}': rising(100),
  'purser_log_append_duration_seconds_bucket{le="1"}': rising(100),
  'purser_log_append_duration_seconds_bucket{le="+Inf"}': rising(100),
  'purser_image_pull_failures_total{code="unavailable"}': constant(0),
  'purser_image_pull_duration_seconds_count{cache="cold"}': rising(1),
  'purser_slo_level_max{sli="disk_used"}': constant(0.8),
  ...Object.fromEntries(
    Object.entries(RATIOS).flatMap(([sli, budget]) => [
      [`purser_slo_budget_ratio{sli="${sli}"}`, constant(budget)],
      [`purser_sli_events_total{sli="${sli}"}`, rising(1000)],
      [`purser_sli_bad_events_total{sli="${sli}"}`, constant(0)],
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(PER_HOUR).flatMap(([sli, budget]) => [
      [`purser_slo_budget_per_hour{sli="${sli}"}`, constant(budget)],
      [`purser_sli_bad_events_total{sli="${sli}"}`, constant(0)],
    ]),
  ),
}

export const bad = (sli: string, values: string): Series => ({ [`purser_sli_bad_events_total{sli="${sli}"}`]: values })
const all = (sli: string, values: string): Series => ({ [`purser_sli_events_total{sli="${sli}"}`]: values })

/** Of the 1000 events in each step some are bad. The conditions are the same for all indicators: one is tried at length. */
function fastBurn(sli: keyof typeof RATIOS, extent: 'at length' | 'in short' = 'in short'): Alert {
  const budget = RATIOS[sli]
  const share = (burn: number) => Math.min(1000, Math.ceil(1000 * budget * burn))
  const fires = { because: 'many are bad for an hour', at: '2h', step: 2, series: bad(sli, later(30, share(18))) }
  const silent = { because: 'no more are than may be', at: '8h', step: 5, series: bad(sli, rising(share(0.8))) }
  if (extent === 'in short') return { fires: [fires], silent: [silent] }
  return {
    fires: [
      fires,
      { because: 'fewer of them are, for six hours', at: '8h', step: 5, series: bad(sli, later(12, share(9))) },
    ],
    silent: [
      silent,
      { because: 'it is over for half an hour', at: '2h', step: 2, series: bad(sli, earlier(42, share(18))) },
      { because: 'it has begun five minutes ago', at: '62m', series: bad(sli, later(58, share(15))) },
      {
        because: 'of three one is bad: that is no trend',
        at: '2h',
        step: 2,
        series: { ...all(sli, '0x45 3x90'), ...bad(sli, '0x45 1x90') },
      },
    ],
  }
}

function slowBurn(sli: keyof typeof RATIOS): Alert {
  const share = (burn: number) => Math.ceil(1000 * RATIOS[sli] * burn)
  return {
    fires: [
      {
        because: 'a little more than may be is bad for days',
        at: '20h',
        step: 10,
        series: bad(sli, rising(share(1.2))),
      },
    ],
    silent: [
      {
        because: 'a little less is',
        at: '20h',
        step: 10,
        series: bad(sli, rising(Math.floor(1000 * RATIOS[sli] * 0.8))),
      },
      { because: 'it is over for six hours', at: '20h', step: 10, series: bad(sli, earlier(13 * 6, share(3))) },
    ],
  }
}

export const ALERTS: Readonly<Record<string, Alert>> = {
  PurserStartFailures: fastBurn('container_start_success', 'at length'),
  PurserStartFailuresSlow: slowBurn('container_start_success'),
  PurserApiErrors: fastBurn('api_errors'),
  PurserApiErrorsSlow: slowBurn('api_errors'),
  PurserApiLatency: fastBurn('api_latency'),
  PurserApiLatencySlow: slowBurn('api_latency'),
  PurserCachedPullLatency: fastBurn('cached_pull_latency'),
  PurserCachedPullLatencySlow: slowBurn('cached_pull_latency'),
  PurserCrashRate: fastBurn('crashes'),
  PurserCrashRateSlow: slowBurn('crashes'),
  PurserImageCacheMisses: {
    fires: [{ because: 'a third is fetched', at: '20h', step: 10, series: bad('image_cache_hits', rising(333)) }],
    silent: [
      { because: 'a tenth is', at: '20h', step: 10, series: bad('image_cache_hits', rising(100)) },
      {
        because: 'a new node has fetched its first images',
        at: '20h',
        step: 10,
        series: { ...all('image_cache_hits', '0x90 50x90'), ...bad('image_cache_hits', '0x90 50x90') },
      },
    ],
  },
  PurserColdClaims: {
    fires: [{ because: 'a third starts a task', at: '20h', step: 10, series: bad('warm_claims', rising(333)) }],
    silent: [
      { because: 'a twentieth does', at: '20h', step: 10, series: bad('warm_claims', rising(50)) },
      {
        because: 'a new pool was empty at first',
        at: '20h',
        step: 10,
        series: { ...all('warm_claims', '0x90 50x90'), ...bad('warm_claims', '0x90 50x90') },
      },
    ],
  },
  PurserJobsBroken: fastBurn('job_success'),
  PurserJobsBrokenSlow: slowBurn('job_success'),
  PurserJobsWait: fastBurn('job_wait'),
  PurserTaskStuck: {
    fires: [{ because: 'one does not end', at: '1h', series: { purser_tasks_stuck: '0x40 1x100' } }],
    silent: [
      { because: 'it ended after a while', at: '1h', series: { purser_tasks_stuck: '0x50 1x7 0x100' } },
      { because: 'none is', at: '1h', series: {} },
    ],
  },
  PurserPoolNotRefilled: {
    fires: [
      { because: 'tasks do not become ready', at: '1h', series: { 'purser_pools{standing="failing"}': '0x30 1x100' } },
      {
        because: 'there is no memory for them',
        at: '1h',
        series: { 'purser_pools{standing="starved"}': '0x30 2x100' },
      },
    ],
    silent: [
      {
        because: 'a try succeeded in between',
        at: '1h',
        series: { 'purser_pools{standing="failing"}': '0x30 1x20 0 1x100' },
      },
    ],
  },
  PurserSnapshotErrors: {
    fires: [{ because: 'there is not to be one', at: '65m', series: bad('snapshot_errors', single(HOUR)) }],
    silent: [
      { because: 'it was an hour ago', at: '2h', series: bad('snapshot_errors', single(HOUR)) },
      {
        because: 'it may be so many',
        at: '2h',
        series: {
          'purser_slo_budget_ratio{sli="snapshot_errors"}': constant(0.01),
          ...bad('snapshot_errors', rising(20)),
        },
      },
    ],
  },
  PurserShimLosses: {
    fires: [{ because: 'two in an hour are more than one', at: '85m', series: bad('shim_loss', '0x65 1x10 2x100') }],
    silent: [
      { because: 'one in an hour may be', at: '85m', series: bad('shim_loss', single(70)) },
      { because: 'the last was 40 minutes ago', at: '125m', series: bad('shim_loss', '0x70 1x10 2x100') },
    ],
  },
  PurserOomKills: {
    fires: [{ because: 'there is not to be one', at: '85m', series: bad('oom_kills', single(70)) }],
    silent: [
      { because: 'it was 50 minutes ago', at: '2h', series: bad('oom_kills', single(70)) },
      {
        because: 'five in an hour may be',
        at: '85m',
        series: { 'purser_slo_budget_per_hour{sli="oom_kills"}': constant(5), ...bad('oom_kills', '0x70 3x100') },
      },
    ],
  },
  PurserDiskUsed: {
    fires: [
      { because: 'more is used than the objective says', at: '1h', series: { purser_disk_used_ratio: constant(0.85) } },
    ],
    silent: [
      { because: 'less is', at: '1h', series: { purser_disk_used_ratio: constant(0.79) } },
      { because: 'it was cleared soon', at: '1h', series: { purser_disk_used_ratio: '0.85x10 0.5x100' } },
      {
        because: 'the objective is another',
        at: '1h',
        series: { purser_disk_used_ratio: constant(0.85), 'purser_slo_level_max{sli="disk_used"}': constant(0.9) },
      },
    ],
  },
  PurserDiskFull: {
    fires: [
      { because: 'nothing is left', at: '1h', series: { purser_disk_used_ratio: constant(0.97) } },
      {
        because: 'nothing will be left in four hours',
        at: '1h',
        series: { purser_disk_used_ratio: constant(0.75), purser_disk_available_bytes: '3e10-3e8x90' },
      },
    ],
    silent: [
      {
        because: 'it fills slowly',
        at: '1h',
        series: { purser_disk_used_ratio: constant(0.75), purser_disk_available_bytes: '3e11-3e6x90' },
      },
      {
        because: 'a pull on an empty disk is no trend',
        at: '1h',
        series: { purser_disk_used_ratio: constant(0.2), purser_disk_available_bytes: '3e10-3e8x90' },
      },
    ],
  },
  PurserDown: {
    fires: [{ because: 'it has not answered for minutes', at: '1h', series: { up: '1x40 0x100' } }],
    silent: [
      { because: 'it was away for a minute', at: '1h', series: { up: '1x57 0 1x100' } },
      {
        because: 'maintenance was announced before it went down',
        at: '1h',
        series: {
          up: '1x40 0x100',
          purser_maintenance: '1x40',
          purser_maintenance_end_timestamp_seconds: '7200x40',
        },
      },
    ],
  },
  PurserRestarting: {
    fires: [
      {
        because: 'three starts in ten minutes',
        at: '50m',
        series: { process_start_time_seconds: '1x40 2x3 3x3 4x100' },
      },
    ],
    silent: [{ because: 'one start', at: '50m', series: { process_start_time_seconds: '1x40 2x100' } }],
  },
  PurserRedisDown: {
    fires: [{ because: 'it does not answer', at: '1h', series: { purser_redis_up: '1x50 0x100' } }],
    silent: [{ because: 'it was restarted', at: '1h', series: { purser_redis_up: '1x50 0 1x100' } }],
  },
  PurserRedisMemory: {
    fires: [{ because: 'maxmemory is near', at: '1h', series: { purser_redis_memory_used_bytes: constant(1.9e8) } }],
    silent: [
      { because: 'half of it is used', at: '1h', series: {} },
      { because: 'there is no maxmemory', at: '1h', series: { purser_redis_memory_max_bytes: constant(0) } },
    ],
  },
  PurserRegistryOutage: {
    fires: [
      {
        because: 'pulls fail and none succeeds',
        at: '1h',
        series: {
          'purser_image_pull_failures_total{code="unavailable"}': later(50, 1),
          'purser_image_pull_duration_seconds_count{cache="cold"}': constant(500),
        },
      },
    ],
    silent: [
      {
        because: 'one of several registries fails now and then',
        at: '1h',
        series: {
          'purser_image_pull_failures_total{code="unavailable"}': later(50, 1),
          'purser_image_pull_duration_seconds_count{cache="cold"}': rising(5),
        },
      },
      {
        because: 'it is the disk that is full',
        at: '1h',
        series: {
          'purser_image_pull_failures_total{code="resource_exhausted"}': later(50, 1),
          'purser_image_pull_duration_seconds_count{cache="cold"}': constant(500),
        },
      },
    ],
  },
  PurserSealingFailed: {
    fires: [{ because: 'an event was altered', at: '1h', series: { purser_log_sealing_failed: '0x50 1x100' } }],
    silent: [{ because: 'nothing was', at: '1h', series: {} }],
    always: true,
  },
  PurserSealingBehind: {
    fires: [
      {
        because: 'nothing is sealed for hours',
        at: '6h',
        step: 5,
        series: { purser_log_sealed_position: '0+99x12 1188x100' },
      },
    ],
    silent: [
      {
        because: 'what is not sealed is young',
        at: '6h',
        series: { purser_log_sealed_position: '0+99x300 29700x1000' },
      },
      {
        because: 'there is nothing to seal',
        at: '6h',
        step: 5,
        series: { purser_log_position: constant(50), purser_log_sealed_position: constant(50) },
      },
    ],
  },
  PurserProjectionStopped: {
    fires: [
      {
        because: 'one stands still',
        at: '1h',
        series: { 'purser_projection_stopped{projection="sli"}': '0x50 1x100' },
      },
    ],
    silent: [{ because: 'all go on', at: '1h', series: {} }],
  },
  PurserProjectionLag: {
    fires: [
      {
        because: 'it does not catch up',
        at: '1h',
        series: { 'purser_projection_lag_events{projection="sli"}': '3x30 2000x100' },
      },
    ],
    silent: [
      {
        because: 'it had caught up in between',
        at: '1h',
        series: { 'purser_projection_lag_events{projection="sli"}': '3x30 2000x15 5 2000x5 5 2000x100' },
      },
    ],
  },
  PurserQueueWait: {
    fires: [
      {
        because: 'half of them wait longer',
        at: '1h',
        series: { 'purser_command_wait_duration_seconds_bucket{worker="task",le="1"}': rising(5) },
      },
    ],
    silent: [
      {
        because: 'one in thirty does',
        at: '1h',
        series: {
          'purser_command_wait_duration_seconds_bucket{worker="task",le="1"}': rising(29),
          'purser_command_wait_duration_seconds_bucket{worker="task",le="60"}': rising(30),
          'purser_command_wait_duration_seconds_bucket{worker="task",le="+Inf"}': rising(30),
        },
      },
    ],
  },
  PurserQueueStuck: {
    fires: [
      {
        because: 'commands wait and none begins or ends',
        at: '2h',
        series: {
          'purser_command_wait_duration_seconds_count{worker="task"}': earlier(HOUR, 10),
          'purser_command_service_duration_seconds_count{worker="task"}': earlier(HOUR, 10),
        },
      },
    ],
    silent: [
      { because: 'they go on', at: '2h', series: {} },
      {
        because: 'there are none',
        at: '2h',
        series: {
          'purser_commands_active{worker="task"}': constant(0),
          'purser_command_wait_duration_seconds_count{worker="task"}': constant(5),
          'purser_command_service_duration_seconds_count{worker="task"}': constant(5),
        },
      },
    ],
  },
  PurserAppendSlow: {
    fires: [
      {
        because: 'a tenth of them is slow',
        at: '1h',
        series: { 'purser_log_append_duration_seconds_bucket{le="0.01"}': rising(90) },
      },
    ],
    silent: [{ because: 'none is', at: '1h', series: {} }],
  },
  PurserDaemonBusy: {
    fires: [{ because: 'its loop is held', at: '1h', series: { nodejs_eventloop_lag_p99_seconds: constant(0.8) } }],
    silent: [{ because: 'it is free', at: '1h', series: {} }],
  },
  PurserMaintenanceForgotten: {
    fires: [{ because: 'it was announced a day ago', at: '1500m', step: 5, series: { purser_maintenance: '1x320' } }],
    silent: [{ because: 'it lasts an hour', at: '1500m', step: 5, series: { purser_maintenance: '0x280 1x40' } }],
    always: true,
  },
}

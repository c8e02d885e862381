import { z } from 'zod'
import { checkpointRecord } from '../../commands/checkpoints.ts'
import { container } from '../../commands/container.ts'
import { imageTarget } from '../../commands/image.ts'
import { job } from '../../commands/job.ts'
import { jobSpec } from '../../commands/job-spec.ts'
import { network } from '../../commands/network.ts'
import { pool } from '../../commands/pool.ts'
import { project } from '../../commands/project.ts'
import { sandbox } from '../../commands/sandbox.ts'
import { HEALTH_STATUSES, STOP_PHASES, task } from '../../commands/task.ts'
import { commandEnvelope } from '../../model/command.ts'
import { digestSchema } from '../../model/digest.ts'
import { ERROR_CODES, type ErrorCode } from '../../model/errors.ts'
import { eventEnvelope } from '../../model/event.ts'
import { labels } from '../../model/labels.ts'
import { healthCheck } from '../../oci/health-check.ts'
import type {
  CommandView,
  ContainerView,
  contentView,
  ImageView,
  JobView,
  NetworkView,
  namespaceView,
  PoolView,
  ProjectView,
  SandboxView,
  snapshotView,
  taskView,
} from '../../projections/views.ts'

/** The shapes of answers, for the OpenAPI document. The compiler checks below that the views have them. */

const instant = z.iso.datetime().describe('RFC 3339, UTC')
const version = z.int().positive().describe('position of the last event that changed it')
const stored = { namespace: z.string(), version }

const errorSchema = z.strictObject({
  code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  remedy: z.string().optional(),
  field: z.string().optional(),
})

export const commandSchema = commandEnvelope.extend({
  version,
  status: z.enum(['accepted', 'running', 'succeeded', 'failed', 'cancelled']),
  attempts: z.int().nonnegative().describe('how often a worker began it'),
  startedAt: instant.optional(),
  endedAt: instant.optional(),
  cancelRequested: z.literal(true).optional(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: errorSchema.optional(),
})

const execSchema = z.strictObject({
  id: z.string(),
  status: z.enum(['starting', 'running', 'exited']),
  process: task.commands['task.exec'].omit({ execId: true }),
  pid: z.int().optional(),
  startedAt: instant.optional(),
  exitCode: z.int().optional(),
  exitedAt: instant.optional(),
})

const taskFields = z.strictObject({
  status: z.enum(['creating', 'created', 'running', 'paused', 'stopped']),
  runtime: z.string(),
  pid: z.int().optional(),
  since: instant.optional(),
  createdAt: instant.optional(),
  startedAt: instant.optional(),
  exitCode: z.int().optional(),
  exitedAt: instant.optional(),
  interfaces: task.events['task.network-attached'].data.shape.interfaces.optional(),
  ports: task.events['task.network-attached'].data.shape.ports.optional().describe('of the host that lead to it'),
  networkFault: task.events['task.network-degraded'].data
    .extend({ since: instant })
    .optional()
    .describe('the network of it that is not as it was made'),
  health: z
    .strictObject({
      check: healthCheck,
      status: z.enum(HEALTH_STATUSES),
      since: instant.optional(),
      detail: z.string().optional().describe('what the probe that decided it ended with'),
    })
    .optional()
    .describe('where it has a health check'),
  stop: z
    .strictObject({ phase: z.enum(STOP_PHASES), until: instant, by: z.string() })
    .optional()
    .describe('how far its stop is, and when the next phase follows; by which command'),
  stuck: task.events['task.stuck'].data.extend({ since: instant }).optional().describe('why it does not end'),
  reason: z.string().optional().describe("why, when it was not the process's own exit"),
  oomKills: z.int().nonnegative().optional(),
  checkpointing: task.events['task.checkpointing'].data
    .extend({ by: z.string() })
    .optional()
    .describe('a checkpoint that is being made, by which command'),
  host: z.enum(['held', 'released']).optional(),
  execs: z.array(execSchema).optional(),
})

export const taskSchema = taskFields.extend({ id: z.string(), ...stored })

export const containerSchema = container.commands['container.create'].extend({
  id: z.string(),
  ...stored,
  createdAt: instant,
  name: z.string().optional().describe('that it was given later; it answers to its id too'),
  status: z.enum(['created', 'running', 'paused', 'restarting', 'exited']),
  restarts: z
    .strictObject({
      wanted: z.boolean().describe('whether it is to run: since it was started, until somebody stops it'),
      count: z.int().nonnegative().describe('how often its policy has started it again since somebody did'),
      delayMs: z.int().nonnegative().describe('milliseconds that were waited for the last time'),
    })
    .optional()
    .describe('where it has a restart policy'),
  checkpoints: z
    .record(z.string(), checkpointRecord.omit({ name: true }).extend({ createdAt: instant }))
    .optional()
    .describe('that it can be started from, by their names'),
  task: taskFields.optional(),
})

export const imageSchema = imageTarget.extend({
  name: z.string(),
  ...stored,
  labels,
  createdAt: instant,
  updatedAt: instant,
  sizeBytes: z.int().nonnegative().describe('manifest, config and layers as they were transferred'),
})

export const snapshotSchema = z.strictObject({
  snapshotter: z.string(),
  key: z.string(),
  ...stored,
  status: z.enum(['preparing', 'active', 'view', 'committed', 'removing']),
  kind: z.enum(['active', 'view']).optional(),
  dir: z.string(),
  parent: z.string().optional(),
  labels,
  createdAt: instant,
  by: z.string().describe('the command that made it'),
})

export const contentSchema = z.strictObject({
  digest: digestSchema,
  ...stored,
  sizeBytes: z.int().nonnegative(),
  mediaType: z.string(),
  labels,
  createdAt: instant,
  by: z.string().describe('the command that brought it'),
})

export const namespaceSchema = z.strictObject({ name: z.string(), version, labels, createdAt: instant })

export const networkSchema = network.events['network.created'].data.extend({
  name: z.string(),
  ...stored,
  status: z.enum(['present', 'removing']),
  createdAt: instant,
})

export const sandboxSchema = sandbox.events['sandbox.creating'].data.extend({
  id: z.string(),
  ...stored,
  status: z.enum(['creating', 'created', 'starting', 'running', 'stopping', 'stopped', 'deleting']),
  createdAt: instant,
  attached: sandbox.events['sandbox.created'].data.shape.attached,
  startedAt: instant.optional(),
  pid: z.int().optional().describe('of its own process, where it has one'),
  exitedAt: instant.optional(),
  exitCode: z.int().optional().describe('where its shim has told one'),
  reason: z.string().optional().describe('why it has ended, when nobody has asked for it'),
  host: z.enum(['held', 'released']).optional().describe('of one that has ended: whether what it held is still there'),
})

const poolMemberSchema = z.strictObject({
  container: z.string(),
  status: z.enum(['warming', 'ready', 'claiming', 'claimed', 'returned', 'retiring']),
  manifest: digestSchema.optional(),
  madeAt: instant,
  uses: z.int().nonnegative().describe('claims that it has served or serves'),
  readyAt: instant.optional(),
  claim: z.string().optional().describe('the command that has it'),
  start: z.enum(['warm', 'cold']).optional(),
  claimedBy: z.string().optional(),
  claimedAt: instant.optional(),
  reason: z.string().optional(),
})

export const poolSchema = pool.commands['pool.create'].extend({
  name: z.string(),
  ...stored,
  status: z.enum(['present', 'draining', 'deleting']),
  createdAt: instant,
  fault: z
    .strictObject({ since: instant, error: z.string() })
    .optional()
    .describe('why its tasks do not become ready; it is tried again'),
  ready: z.int().nonnegative(),
  warming: z.int().nonnegative(),
  claimed: z.int().nonnegative(),
  members: z.array(poolMemberSchema),
})

const { failure } = job.events['job.failed'].data.shape
const { outcome: _, attempt: __, step: ___, ...stepEnd } = job.events['job.step-ended'].data.shape
const { artifacts, skipped, missing } = job.events['job.artifacts-collected'].data.shape
const ms = z.int().nonnegative()

const jobStepSchema = z.strictObject({
  name: z.string(),
  container: z.string().optional().describe('of a step that has begun, while there is one'),
  status: z.enum(['running', 'succeeded', 'failed', 'cancelled', 'skipped']),
  pulledAt: instant.optional(),
  pulledMs: ms.optional(),
  endedAt: instant.optional(),
  ...stepEnd,
  startedAt: instant.optional().describe('of its process; of the step while that has not ended'),
  timings: stepEnd.timings.optional(),
})

export const jobSchema = z.strictObject({
  id: z.string(),
  ...stored,
  status: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'removing']),
  name: z.string().optional(),
  submittedAt: instant,
  submittedBy: z.string(),
  command: z.uuid().describe('that submitted it; what it leads to has it as its correlation'),
  startedAt: instant.optional().describe('of its first attempt'),
  endedAt: instant.optional(),
  cancelling: z.string().optional().describe('why it is about to end'),
  reason: z.string().optional().describe('why it was cancelled'),
  failure: failure.optional(),
  exitCode: z.int().optional().describe('0 when it has succeeded, or that of the step that it failed with'),
  timings: z.strictObject({
    queuedMs: ms.optional().describe('until its first attempt'),
    ranMs: ms.optional().describe('its last attempt'),
    totalMs: ms.optional(),
  }),
  attempts: z.array(
    z.strictObject({
      command: z.string().describe('that made it'),
      startedAt: instant,
      endedAt: instant.optional(),
      failure: failure.optional(),
      steps: z.array(jobStepSchema),
      skipped: skipped.optional(),
      missing: missing.optional(),
    }),
  ),
  artifacts,
  spec: jobSpec,
})

export const projectSchema = project.events['project.starting'].data.extend({
  name: z.string(),
  ...stored,
  status: z.enum(['starting', 'up', 'failed', 'stopping']),
  createdAt: instant,
  error: z.string().optional().describe('why its last start failed'),
})

export const eventSchema = eventEnvelope.extend({ position: z.int().positive().describe('its place in the log') })

export const exitSchema = z.strictObject({
  exitCode: z.int(),
  exitedAt: instant,
  reason: z.string().optional(),
})

export const pageOf = (item: z.ZodType) =>
  z.strictObject({ items: z.array(item), next: z.string().optional().describe('the cursor of the next page') })

type Shapes = {
  command: [CommandView, typeof commandSchema]
  container: [ContainerView, typeof containerSchema]
  content: [ReturnType<typeof contentView>, typeof contentSchema]
  image: [ImageView, typeof imageSchema]
  job: [JobView, typeof jobSchema]
  namespace: [ReturnType<typeof namespaceView>, typeof namespaceSchema]
  network: [NetworkView, typeof networkSchema]
  pool: [PoolView, typeof poolSchema]
  project: [ProjectView, typeof projectSchema]
  sandbox: [SandboxView, typeof sandboxSchema]
  snapshot: [ReturnType<typeof snapshotView>, typeof snapshotSchema]
  task: [ReturnType<typeof taskView>, typeof taskSchema]
}

/** A view that its schema does not describe fails to compile here. */
type Described<Shape extends Record<keyof Shape, [unknown, z.ZodType]>> = {
  [Name in keyof Shape]: Shape[Name][0] extends z.input<Shape[Name][1]> ? true : Name
}
const described: Described<Shapes> = {
  command: true,
  container: true,
  content: true,
  image: true,
  job: true,
  namespace: true,
  network: true,
  pool: true,
  project: true,
  sandbox: true,
  snapshot: true,
  task: true,
}
void described

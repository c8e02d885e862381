import { z } from 'zod'
import { priority } from '../model/command.ts'
import { labels } from '../model/labels.ts'
import { containerOptions } from '../oci/spec/container-options.ts'
import { fileSystemBytes } from '../oci/spec/storage.ts'
import { imageName } from './image-name.ts'

export const STEPS_MAX = 100
export const RETRIES_MAX = 10
export const ARTIFACTS_MAX = 100
/** Longer than any job should take, and far from where a timer overflows. */
export const SPAN_MS_MAX = 7 * 24 * 3_600_000

const { args, entrypoint, env, workingDir, user, mounts, network, resources } = containerOptions.shape

const slashed = (path: string): string => `${path}/`.replaceAll(/\/+/g, '/')

const isOneLine = (text: string): boolean => !/\p{Cc}/u.test(text)

export const line = (max: number) => z.string().min(1).max(max).refine(isOneLine, 'it is one line of text')

export const artifactPath = z
  .string()
  .max(1024)
  .regex(
    /^(?!\.{1,2}(?:\/|$))[^/]+(?:\/(?!\.{1,2}(?:\/|$))[^/]+)*$/,
    'an artifact is a path below the workspace, with no . or .. or // in it and no / at either end',
  )
  .refine(isOneLine, 'a path has no control characters')

export const concurrency = z.strictObject({
  group: line(256).describe('of the namespace'),
  max: z.int().min(1).max(4096).default(1).describe('jobs of the group that run at once'),
  cancelInProgress: z
    .boolean()
    .default(false)
    .describe('whether earlier jobs of the group are cancelled, those that run and those that wait'),
})

/** What containers may be asked for that a job has no field of its own for. */
export const jobOptions = containerOptions.omit({
  args: true,
  entrypoint: true,
  env: true,
  workingDir: true,
  user: true,
  tty: true,
  stdin: true,
  mounts: true,
  network: true,
  resources: true,
})

export const deadline = z.iso.datetime('it is a time such as 2026-01-02T03:04:05Z')

export const workspaceBytes = fileSystemBytes.describe('what the shared directory may hold, at most, in bytes')

/** When a step runs: while none before it that counts has failed, only then, or in any case. */
export const when = z.enum(['success', 'failure', 'always'])

const spanMs = z.int().min(1).max(SPAN_MS_MAX)

const stepSpec = z.strictObject({
  name: line(128),
  image: imageName,
  entrypoint,
  args,
  env: env.describe('variables, each KEY=VALUE; a value may be sealed'),
  workingDir: workingDir.describe('the workspace without it'),
  user,
  resources,
  timeoutMs: spanMs.optional().describe('milliseconds that its process may run'),
  continueOnError: z.boolean().default(false).describe('whether the job goes on, and can succeed, when it fails'),
  when: when.optional().describe('success without it'),
})
export type JobStep = z.output<typeof stepSpec>

/** A job with all that it is made of: durations in milliseconds, sizes in bytes, and each step with its image. */
export const jobSpec = z
  .strictObject({
    name: line(128).optional(),
    steps: z.array(stepSpec).min(1, 'a job has a step at least').max(STEPS_MAX, `a job has ${STEPS_MAX} steps at most`),
    workspace: workingDir.unwrap().default('/workspace'),
    workspaceBytes: workspaceBytes.optional(),
    mounts,
    network,
    pull: z.enum(['missing', 'always', 'never']).default('missing'),
    platform: z.string().max(256).optional(),
    runtime: z.string().max(256).optional(),
    snapshotter: z.string().max(256).default('overlayfs'),
    timeoutMs: spanMs.optional().describe('milliseconds that an attempt may take'),
    options: jobOptions.optional(),
    deadline: deadline.optional(),
    graceMs: z
      .int()
      .min(0)
      .max(SPAN_MS_MAX)
      .default(10_000)
      .describe('milliseconds between the stop signal and SIGKILL'),
    retries: z.int().min(0).max(RETRIES_MAX, `there are ${RETRIES_MAX} retries at most`).default(0),
    priority: priority.default(100),
    concurrency: concurrency.optional(),
    artifacts: z
      .array(z.strictObject({ path: artifactPath, optional: z.boolean().default(false) }))
      .max(ARTIFACTS_MAX, `there are ${ARTIFACTS_MAX} artifacts at most`)
      .default([]),
    labels: labels.default({}),
  })
  .refine(({ mounts, workspace }) => mounts.every(({ target }) => slashed(target) !== slashed(workspace)), {
    path: ['mounts'],
    message: 'a mount has the workspace as its target',
  })
export type JobSpec = z.output<typeof jobSpec>

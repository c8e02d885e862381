import { z } from 'zod'
import { priority } from '../model/command.ts'
import { PurserError } from '../model/errors.ts'
import { labels } from '../model/labels.ts'
import { parseBytes, parseDuration } from '../oci/size.ts'
import { type ContainerOptions, containerOptions, MEMORY_BYTES_MIN } from '../oci/spec/container-options.ts'
import { imageName } from './image-name.ts'
import {
  ARTIFACTS_MAX,
  artifactPath,
  concurrency,
  deadline,
  type JobSpec,
  jobOptions,
  line,
  RETRIES_MAX,
  SPAN_MS_MAX,
  STEPS_MAX,
  when,
  workspaceBytes,
} from './job-spec.ts'

const VALUE_BYTES_MAX = 131_072

const { args, entrypoint, workingDir, user, mounts, network, resources } = containerOptions.shape

function parsed<T>(parse: (text: string) => T) {
  return (text: string, context: z.RefinementCtx): T => {
    try {
      return parse(text)
    } catch (error) {
      if (!(error instanceof PurserError)) throw error
      context.addIssue({ code: 'custom', message: `${error.message}; ${error.remedy ?? ''}` })
      return z.NEVER
    }
  }
}

const span = (msMin: number) =>
  z
    .string()
    .transform(parsed(parseDuration))
    .refine((ms) => ms >= msMin && ms <= SPAN_MS_MAX, `it is ${msMin === 0 ? '0' : '1ms'} at least and 7d at most`)

const variableName = z
  .string()
  .max(256)
  .regex(/^[^=\s\0]+$/, 'a variable has a name without = and without spaces')

const variables = z
  .record(
    variableName,
    z
      .union([z.string(), z.number(), z.boolean()], 'a value is text, a number, true or false')
      .transform(String)
      .refine(
        (value) => !value.includes('\0') && Buffer.byteLength(value) < VALUE_BYTES_MAX,
        'a value holds no NUL character and has 131071 bytes at most',
      ),
  )
  .transform((all) => Object.entries(all).map(([name, value]) => `${name}=${value}`))
  .prefault({})

const SEALED = /^sealed:v1:[A-Za-z0-9_-]+$/

/** Looked at as a whole, so that no error says what a value is. */
const secrets = z
  .record(z.string(), z.unknown())
  .transform((all, context) =>
    Object.entries(all).map(([name, value]) => {
      if (variableName.safeParse(name).success && typeof value === 'string' && SEALED.test(value))
        return `${name}=${value}`
      const message = `${JSON.stringify(name.slice(0, 100))} has no sealed value: POST /v1/seal gives one, purser job submit asks for it`
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }),
  )
  .prefault({})

const size = z
  .union([z.string(), z.int().transform(String)], 'a size is text such as 512m, or bytes')
  .transform(parsed(parseBytes))

const limits = z
  .strictObject({
    memory: size
      .refine((bytes) => bytes >= MEMORY_BYTES_MIN, 'a memory limit is 6m at least')
      .optional()
      .describe('512m; above it the step is killed'),
    cpus: resources.unwrap().shape.cpus,
    cpuShares: resources.unwrap().shape.cpuShares,
    pids: resources.unwrap().shape.pidsLimit,
  })
  .transform(({ memory, pids, ...rest }): ContainerOptions['resources'] => ({
    ...rest,
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    ...(pids === undefined ? {} : { pidsLimit: pids }),
  }))

const artifact = z.union(
  [
    artifactPath.transform((path) => ({ path, optional: false })),
    z.strictObject({
      path: artifactPath,
      optional: z.boolean().default(false).describe('whether the job succeeds without it'),
    }),
  ],
  'an artifact is a path below the workspace, with no . or .. in it, or path and optional',
)

const step = z
  .strictObject({
    name: line(128).optional().describe('shown in lists; step 1, step 2 … without it'),
    image: imageName.optional().describe("instead of the job's"),
    run: z
      .string()
      .min(1)
      .refine(
        (text) => !text.includes('\0') && Buffer.byteLength(text) < VALUE_BYTES_MAX,
        'it has 131071 bytes at most',
      )
      .optional()
      .describe("a script for the image's /bin/sh, which ends at the first command that fails"),
    entrypoint: entrypoint.describe("program and first arguments, instead of the image's Entrypoint and Cmd"),
    args: args.describe("arguments, instead of the image's Cmd"),
    env: variables.describe("variables over the job's"),
    secrets: secrets.describe('sealed variables for this step alone'),
    workingDir: workingDir.describe('the workspace without it'),
    user,
    limits: limits.optional().describe("instead of the job's"),
    timeout: span(1).optional().describe('how long its process may run'),
    continueOnError: z.boolean().default(false).describe('whether the job goes on, and can succeed, when it fails'),
    when: when
      .optional()
      .describe('success, failure or always: whether it runs when a step before it has failed; success without it'),
  })
  .refine(({ run, entrypoint, args }) => run === undefined || (entrypoint ?? args) === undefined, {
    path: ['run'],
    message: 'a step has run, or entrypoint and args, not both',
  })

/** What a job file holds, and the body of POST /v1/jobs. */
export const jobRequest = z
  .strictObject({
    name: line(128).optional().describe('shown in lists'),
    image: imageName.optional().describe('of all steps that name none of their own'),
    steps: z.array(step).min(1, 'a job has a step at least').max(STEPS_MAX, `a job has ${STEPS_MAX} steps at most`),
    env: variables.describe('variables of all steps'),
    secrets: secrets.describe('sealed variables of all steps'),
    workspace: workingDir
      .unwrap()
      .default('/workspace')
      .describe('where the directory that all steps share is mounted'),
    workspaceSize: size.pipe(workspaceBytes).optional().describe('10g; what that directory may hold'),
    user,
    mounts: mounts.describe('mounts of all steps, besides the workspace'),
    limits: limits.optional().describe('of each step'),
    network: network.describe('of all steps, as of purser run'),
    pull: z.enum(['missing', 'always', 'never']).default('missing').describe('when images are pulled'),
    platform: z.string().max(256).optional(),
    runtime: z.string().max(256).optional(),
    snapshotter: z.string().max(256).default('overlayfs'),
    timeout: span(1).optional().describe('how long an attempt may take from its start, pulling included'),
    grace: span(0)
      .default(10_000)
      .describe('that a step has after its stop signal, when the job is cancelled or timed out'),
    options: jobOptions
      .optional()
      .describe('of all containers: privileged, security, ulimits, dns …, as in purser inspect'),
    deadline: deadline
      .optional()
      .describe('RFC 3339, UTC: cancelled when it has not ended by then, waiting or running'),
    retries: z
      .int()
      .min(0)
      .max(RETRIES_MAX, `there are ${RETRIES_MAX} retries at most`)
      .default(0)
      .describe('how often a job that has failed is tried again, in a new workspace'),
    priority: priority.default(100).describe('1 is the most urgent in its namespace'),
    concurrency: concurrency.optional(),
    artifacts: z
      .array(artifact)
      .max(ARTIFACTS_MAX, `there are ${ARTIFACTS_MAX} artifacts at most`)
      .default([])
      .describe('files and directories of the workspace that are kept'),
    labels: labels.default({}),
  })
  .transform((job, context): JobSpec => {
    const { steps, image, env, secrets, user, limits, timeout, grace, workspaceSize, ...rest } = job
    return {
      ...rest,
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      ...(workspaceSize === undefined ? {} : { workspaceBytes: workspaceSize }),
      graceMs: grace,
      steps: steps.map((step, index) => {
        const of = step.image ?? image
        if (of === undefined) {
          const message = 'neither the step nor the job has an image'
          context.addIssue({ code: 'custom', path: ['steps', index, 'image'], message })
        }
        const { name, run, secrets: own, limits: ownLimits, timeout, ...more } = step
        return {
          ...(user === undefined ? {} : { user }),
          ...more,
          name: name ?? `step ${index + 1}`,
          image: of ?? '',
          ...(run === undefined ? {} : { entrypoint: ['/bin/sh', '-e', '-c', run] }),
          env: [...env, ...secrets, ...step.env, ...own],
          resources: ownLimits ?? limits ?? {},
          ...(timeout === undefined ? {} : { timeoutMs: timeout }),
        }
      }),
    }
  })
export type JobRequest = z.input<typeof jobRequest>

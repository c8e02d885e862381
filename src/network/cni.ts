import { z } from 'zod'
import { PurserError, toPurserError } from '../model/errors.ts'
import { type Conflist, conflistSchema, type PluginConfig } from './conflist.ts'
import { type Invocation, type PluginSearch, runPlugin } from './plugin.ts'

/** What only the container knows, given to the plugins that have the capability. @see CNI conventions, "Dynamic" */
export interface RuntimeConfig {
  portMappings?: { hostPort: number; containerPort: number; protocol: string; hostIP?: string }[]
  ips?: string[]
  mac?: string
}

const runtimeConfigSchema = z.looseObject({}).transform((value): RuntimeConfig => value)

/** @see CNI specification 1.0.0, section 5, "ADD Success" */
const resultSchema = z.looseObject({
  interfaces: z
    .array(z.looseObject({ name: z.string(), mac: z.string().optional(), sandbox: z.string().optional() }))
    .default([]),
  ips: z
    .array(z.looseObject({ address: z.string(), gateway: z.string().optional(), interface: z.int().optional() }))
    .default([]),
  dns: z
    .looseObject({
      nameservers: z.array(z.string()).optional(),
      search: z.array(z.string()).optional(),
      options: z.array(z.string()).optional(),
    })
    .default({}),
})

/** One interface of a container, as it is kept until it is taken away. */
export const attachmentSchema = z.strictObject({
  /** As the user names the network. */
  network: z.string(),
  ifName: z.string(),
  list: conflistSchema,
  runtimeConfig: runtimeConfigSchema,
  /** What the plugins have made of it, as far as they are. */
  result: resultSchema.optional(),
  /** Whether all have done their part. */
  isWhole: z.boolean(),
  /** Types of the plugins whose CHECK has found all in order once. That of portmap 1.1.1 never does. */
  inOrderFor: z.array(z.string()).optional(),
})
export type Attachment = z.output<typeof attachmentSchema>

export interface Sandbox {
  containerId: string
  /** Path of its network namespace; empty when that is gone. */
  netns: string
}

const CAPABILITIES = ['portMappings', 'ips', 'mac'] as const
const WHAT = {
  portMappings: 'publish ports',
  ips: 'give an address that is asked for',
  mac: 'give a MAC address that is asked for',
}

/** @throws PurserError failed_precondition when nothing in the network could do what is asked */
export function requireCapabilities(network: string, list: Conflist, asked: RuntimeConfig): void {
  for (const capability of CAPABILITIES) {
    if (asked[capability] === undefined || list.plugins.some(({ capabilities }) => capabilities?.[capability])) continue
    throw new PurserError(
      'failed_precondition',
      `network ${network} cannot ${WHAT[capability]}: none of its plugins has the capability ${capability}`,
      { remedy: 'leave that out, or use another network' },
    )
  }
}

/**
 * ADD, by one plugin after the other.
 *
 * @param keep is called with the attachment after each: what a plugin has done it finds again by its result
 */
export async function addTo(
  attachment: Attachment,
  sandbox: Sandbox,
  search: PluginSearch,
  signal: AbortSignal,
  keep: () => void,
): Promise<void> {
  const { network, list } = attachment
  for (const [at, plugin] of list.plugins.entries()) {
    const call = invocation('ADD', attachment, plugin, sandbox, attachment.result)
    const parsed = resultSchema.safeParse((await runPlugin(call, search, signal)) ?? attachment.result ?? {})
    if (!parsed.success) {
      const why = parsed.error.issues[0]?.message
      throw new PurserError('internal', `network ${network}: what plugin ${plugin.type} answered is no result: ${why}`)
    }
    attachment.result = parsed.data
    attachment.isWhole = at === list.plugins.length - 1
    keep()
  }
}

/** CHECK, by all plugins, whatever one of them says. @returns what each says that does not find all in order, by its type */
export async function check(
  attachment: Attachment,
  sandbox: Sandbox,
  search: PluginSearch,
  signal: AbortSignal,
): Promise<Map<string, PurserError>> {
  const failures = new Map<string, PurserError>()
  for (const plugin of attachment.list.disableCheck ? [] : attachment.list.plugins) {
    try {
      await runPlugin(invocation('CHECK', attachment, plugin, sandbox, attachment.result), search, signal)
    } catch (error) {
      signal.throwIfAborted()
      failures.set(plugin.type, toPurserError(error))
    }
  }
  return failures
}

/** DEL, by all plugins, the last first, whatever one of them says. @returns what failed */
export async function deleteFrom(
  attachment: Attachment,
  sandbox: Sandbox,
  search: PluginSearch,
  signal: AbortSignal,
): Promise<unknown[]> {
  const failures: unknown[] = []
  for (const plugin of attachment.list.plugins.toReversed()) {
    const call = invocation('DEL', attachment, plugin, sandbox, attachment.result)
    await runPlugin(call, search, signal).catch((error: unknown) => failures.push(error))
  }
  return failures
}

function invocation(
  verb: Invocation['verb'],
  { network, list, ifName, runtimeConfig }: Omit<Attachment, 'result' | 'isWhole' | 'inOrderFor'>,
  plugin: PluginConfig,
  sandbox: Sandbox,
  prevResult: unknown,
): Invocation {
  const given = CAPABILITIES.filter((name) => plugin.capabilities?.[name] && runtimeConfig[name] !== undefined)
  return {
    verb,
    network,
    type: plugin.type,
    ...sandbox,
    ifName,
    config: {
      ...plugin,
      cniVersion: list.cniVersion,
      name: list.name,
      ...(given.length === 0
        ? {}
        : { runtimeConfig: Object.fromEntries(given.map((name) => [name, runtimeConfig[name]])) }),
      ...(prevResult === undefined ? {} : { prevResult }),
    },
  }
}

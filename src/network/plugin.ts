import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'
import { ExecaError, execa } from 'execa'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import type { Conflist } from './conflist.ts'

const OUTPUT_BYTES_MAX = 1024 * 1024
const SENTENCE_MAX = 600

/** Where plugins look for iptables and the like. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export interface Invocation {
  verb: 'ADD' | 'CHECK' | 'DEL' | 'GC'
  /** The network, for messages. */
  network: string
  type: string
  containerId: string
  /** Empty when it is gone. */
  netns: string
  ifName: string
  config: Record<string, unknown>
}

export interface PluginSearch {
  dirs: readonly string[]
  timeoutMs: number
}

/** @see CNI specification 1.0.0, section 5, "Error" */
const errorSchema = z.looseObject({ code: z.int().optional(), msg: z.string(), details: z.string().optional() })

/** "Try again later". */
const AGAIN = 11

/**
 * Runs a plugin once.
 *
 * @returns what it printed; for verbs other than ADD that is nothing
 * @throws PurserError failed_precondition when there is no such plugin, or it failed, with its own sentence;
 *   deadline_exceeded when it took too long
 */
export async function runPlugin(call: Invocation, search: PluginSearch, signal: AbortSignal): Promise<unknown> {
  const program = await findPlugin(call.network, call.type, search.dirs)
  signal.throwIfAborted()
  try {
    // One that outlived the daemon would go on behind the back of the next one.
    const { stdout } = await execa('setpriv', ['--pdeathsig', 'KILL', '--', program], {
      input: JSON.stringify(call.config),
      env: {
        CNI_COMMAND: call.verb,
        CNI_CONTAINERID: call.containerId,
        CNI_NETNS: call.netns,
        CNI_IFNAME: call.ifName,
        CNI_PATH: search.dirs.join(':'),
        PATH,
      },
      extendEnv: false,
      cwd: '/',
      maxBuffer: OUTPUT_BYTES_MAX,
      timeout: search.timeoutMs,
      killSignal: 'SIGKILL',
      cancelSignal: signal,
    })
    return stdout.trim() === '' ? undefined : JSON.parse(stdout)
  } catch (error) {
    signal.throwIfAborted()
    throw inOurWords(call, search, error)
  }
}

const ipamSchema = z.looseObject({ type: z.string() })

/** @throws PurserError failed_precondition naming the first plugin that is not there, those for addresses included */
export async function requirePlugins(
  networks: readonly { name: string; list: Conflist }[],
  dirs: readonly string[],
): Promise<void> {
  for (const { name, list } of networks) {
    for (const { type, ipam } of list.plugins) {
      await findPlugin(name, type, dirs)
      const asked = ipamSchema.safeParse(ipam)
      if (asked.success) await findPlugin(name, asked.data.type, dirs)
    }
  }
}

async function findPlugin(network: string, type: string, dirs: readonly string[]): Promise<string> {
  for (const dir of dirs) {
    const program = join(dir, type)
    const isThere = await access(program, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return program
  }
  throw new PurserError(
    'failed_precondition',
    `network ${network} needs the CNI plugin ${type}, which is not in ${dirs.join(' or ')}`,
    {
      remedy: 'install it (Debian: containernetworking-plugins), or name its directory in pluginDirs of [network]',
    },
  )
}

function inOurWords({ verb, network, type }: Invocation, { timeoutMs }: PluginSearch, error: unknown): PurserError {
  const what = `network ${network}: plugin ${type} failed to ${WORDS[verb]}`
  if (!(error instanceof ExecaError)) {
    return new PurserError('internal', `${what}: what it printed is no JSON`, { cause: error })
  }
  if (error.timedOut) {
    return new PurserError('deadline_exceeded', `${what}: it took more than ${timeoutMs / 1000} s`, {
      remedy: 'timeout of [network] is the bound; see what it waits for',
      cause: error,
    })
  }
  const told = sentenceOf(String(error.stdout ?? ''))
  const sentence = told?.sentence || String(error.stderr ?? '').trim() || error.shortMessage
  return new PurserError(
    told?.code === AGAIN ? 'unavailable' : 'failed_precondition',
    `${what}: ${sentence.slice(0, SENTENCE_MAX)}`,
    {
      remedy:
        'that is what the plugin says; purser network inspect, or the file in /etc/cni/net.d, shows what it was given',
      cause: error,
    },
  )
}

const WORDS = { ADD: 'add the container', CHECK: 'find all in order', DEL: 'take the container out', GC: 'tidy up' }

function sentenceOf(stdout: string): { code?: number | undefined; sentence: string } | undefined {
  try {
    const { code, msg, details } = errorSchema.parse(JSON.parse(stdout))
    return { code, sentence: details ? `${msg}; ${details}` : msg }
  } catch {
    return undefined
  }
}

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'

const BYTES_MAX = 1024 * 1024

/** Versions of the specification whose results and verbs we know. */
const VERSIONS = ['0.4.0', '1.0.0', '1.1.0']

const cniVersion = z.enum(VERSIONS, `cniVersion is one of ${VERSIONS.join(', ')}`)

/** A plugin's name is a file in a directory of plugins, never a path. */
const pluginType = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'the type of a plugin is the name of its file')

const pluginSchema = z.looseObject({
  type: pluginType,
  capabilities: z.record(z.string(), z.boolean()).optional(),
})

/**
 * A network as CNI configures it: plugins, each of which does its part to a container's namespace.
 *
 * @see CNI specification 1.0.0, section 1, "Network configuration format"
 */
export const conflistSchema = z.looseObject({
  cniVersion,
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'a name is letters, digits, _ . and -'),
  disableCheck: z.boolean().default(false),
  plugins: z.array(pluginSchema).min(1, 'it needs a plugin').max(32),
})
export type Conflist = z.output<typeof conflistSchema>
export type PluginConfig = z.output<typeof pluginSchema>

/** A file with one plugin, as `.conf` has it. */
const singleSchema = pluginSchema.extend({ cniVersion, name: z.string() })

const NAME = z.looseObject({ name: z.string() })

/**
 * The network of a name among the files of a directory; the first in their order counts.
 *
 * @returns undefined when none has the name
 * @throws PurserError failed_precondition when the one that has it is not valid, naming the file
 */
export async function findConflist(dir: string, name: string): Promise<Conflist | undefined> {
  for (const file of await filesOf(dir)) {
    const text = await readFile(file, 'utf8').catch(() => '')
    const document = text.length > BYTES_MAX ? undefined : parsed(text)
    const named = NAME.safeParse(document)
    if (named.success && named.data.name === name) return conflistOf(file, document)
  }
  return undefined
}

async function filesOf(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch(() => [])
  return names
    .filter((name) => /\.(?:conflist|conf|json)$/.test(name))
    .sort()
    .map((name) => join(dir, name))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function conflistOf(file: string, document: unknown): Conflist {
  const isList = typeof document === 'object' && document !== null && 'plugins' in document
  const single = isList ? undefined : singleSchema.safeParse(document)
  const listed = single?.success
    ? { cniVersion: single.data.cniVersion, name: single.data.name, plugins: [single.data] }
    : document
  const list = single && !single.success ? single : conflistSchema.safeParse(listed)
  if (list.success && 'plugins' in list.data) return conflistSchema.parse(list.data)
  const issue = list.error?.issues[0]
  throw new PurserError(
    'failed_precondition',
    `${file}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`,
    {
      remedy: 'mend that file; the CNI specification says what it holds',
    },
  )
}

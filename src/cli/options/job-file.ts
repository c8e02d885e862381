import type { JobRequest, PurserClient } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { environmentVariable } from '../line/environment.ts'
import { isMapping, readYamlFile } from '../line/yaml-file.ts'

/**
 * A job from a file in YAML or JSON; `-` is standard input. Where `secrets` are a list of names, their values are taken from
 * where the caller says, or from the environment, and sealed: the file and the request have none in them.
 *
 * @param given values of secrets, which win over the environment
 * @throws PurserError naming file and line, or the secret that there is no value for
 */
export async function jobFile(
  client: PurserClient,
  path: string,
  given: ReadonlyMap<string, string>,
): Promise<JobRequest> {
  const file = await readYamlFile(path, 'docs/jobs.md')
  const steps = Array.isArray(file.steps) ? file.steps : []
  const holders = [file, ...steps.filter(isMapping)]
  const names = [...new Set(holders.flatMap(({ secrets }) => namesIn(secrets)))]
  const sealed =
    names.length === 0 ? {} : await client.seal(Object.fromEntries(names.map((name) => [name, secretOf(name)])))
  for (const holder of holders) {
    if (!Array.isArray(holder.secrets)) continue
    holder.secrets = Object.fromEntries(namesIn(holder.secrets).map((name) => [name, sealed[name]]))
  }
  // The daemon says what is wrong with it, and where.
  return file as unknown as JobRequest

  function secretOf(name: string): string {
    const value = given.get(name) ?? environmentVariable(name)
    if (value !== undefined) return value
    throw new PurserError('invalid_argument', `${path}: there is no value for the secret ${name}`, {
      field: 'secrets',
      remedy: `set ${name} in the environment, or name a file with --secret-env-file`,
    })
  }
}

const namesIn = (secrets: unknown): string[] =>
  Array.isArray(secrets) ? secrets.filter((name) => typeof name === 'string') : []

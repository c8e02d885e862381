/**
 * Merges lists of `KEY=VALUE`. A later value wins and keeps the place of the first, so that the order does not depend on
 * who overrides whom. What is no `KEY=VALUE`, or holds a NUL that would end it, is left out: images carry such lines.
 */
export function mergeEnv(...lists: readonly (readonly string[])[]): string[] {
  const values = new Map<string, string>()
  for (const variable of lists.flat()) {
    const equals = variable.indexOf('=')
    if (equals > 0 && !variable.includes('\0')) values.set(variable.slice(0, equals), variable)
  }
  return [...values.values()]
}

export const hasVariable = (env: readonly string[], key: string): boolean =>
  env.some((variable) => variable.startsWith(`${key}=`))

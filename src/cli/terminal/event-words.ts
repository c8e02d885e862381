/** The plain values of an event's data, as `key=value`; of a command its type, of a failure why. */
export function whatOf(data: Readonly<Record<string, unknown>>): string {
  const { command, error } = data
  if (isObject(command)) return String(command.type)
  if (isObject(error)) return String(error.message)
  if (typeof error === 'string') return error
  const plain = Object.entries(data).filter(([, value]) => typeof value !== 'object')
  return plain.map(([key, value]) => `${key}=${value}`).join(' ')
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

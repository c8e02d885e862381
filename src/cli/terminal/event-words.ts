/** The plain values of an event's data, as `key=value`; of a command its type, of a failure why. */
export function whatOf(data: Readonly<Record<string, unknown>>): string {
  const { command, error, failure } = data
  if (isObject(command)) return String(command.type)
  if (isObject(error)) return String(error.message)
  if (typeof error === 'string') return error
  if (isObject(failure) && isObject(failure.error)) return String(failure.error.message)
  if (Array.isArray(data.attempts)) return data.attempts.filter(isObject).map(attemptOf).join('; ')
  if (Array.isArray(data.processes)) return data.processes.filter(isObject).map(processOf).join('; ')
  const plain = Object.entries(data).filter(([, value]) => typeof value !== 'object')
  return plain.map(([key, value]) => `${key}=${value}`).join(' ')
}

/** `mirror.lan:5000 503 ×2: it is overloaded` */
function attemptOf({ host, status, reason, requests }: Record<string, unknown>): string {
  const answer = status === undefined ? 'no answer' : status
  return `${host} ${answer}${requests === 1 ? '' : ` ×${requests}`}${reason === undefined ? '' : `: ${reason}`}`
}

/** `4711 (sleep) D, in wait_woken` */
function processOf({ pid, command, state, waitsIn }: Record<string, unknown>): string {
  return `${pid} (${command}) ${state}${waitsIn === undefined ? '' : `, in ${waitsIn}`}`
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

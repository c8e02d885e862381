/** Who has something of networks. */
export interface Named {
  namespace: string
  id: string
}

export const keyOf = ({ namespace, id }: Named): string => `${namespace}/${id}`

/** A sandbox has networks as a container has: a pair of underscores is in no identifier, so that none has its id. */
const SANDBOX_PREFIX = 'sandbox__'

/** How networks know a sandbox. */
export const ofSandbox = (id: string): string => `${SANDBOX_PREFIX}${id}`

/** Undefined for a container's. */
const sandboxOf = (id: string): string | undefined =>
  id.startsWith(SANDBOX_PREFIX) ? id.slice(SANDBOX_PREFIX.length) : undefined

export const describeOwner = (id: string): string => {
  const sandbox = sandboxOf(id)
  return sandbox === undefined ? `container ${id}` : `sandbox ${sandbox}`
}

/** As CNI knows it: a pair of underscores is in no identifier. */
export const containerIdOf = ({ namespace, id }: Named): string => `${namespace}__${id}`

/** Whose such an id is. */
export function partsOf(containerId: string): [namespace: string, id: string] {
  const [namespace = '', ...id] = containerId.split('__') // That of a sandbox has another pair.
  return [namespace, id.join('__')]
}

/** Whether a container, or a sandbox, may hold something of networks. */
export interface Holders {
  container(namespace: string, id: string): boolean
  sandbox(namespace: string, id: string): boolean
}

export function holds(holders: Holders, namespace: string, id: string): boolean {
  const sandbox = sandboxOf(id)
  return sandbox === undefined ? holders.container(namespace, id) : holders.sandbox(namespace, sandbox)
}

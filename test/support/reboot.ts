import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestNode } from './daemon.ts'
import { removeLeftovers } from './leftovers.ts'

/**
 * What a reboot makes of a node: no process, mount or cgroup of it is left, its run files are gone, and the kernel is another
 * one to whoever asks. Interfaces and rules are the caller's to remove. The node is not started again.
 */
export async function reboot(node: TestNode): Promise<void> {
  await node.kill9()
  const left = await removeLeftovers(node.dir, node.state)
  if (left.length > 0) throw new Error(`a reboot leaves no ${left.join(', ')}`)
  await rm(node.state, { recursive: true })
  await writeFile(join(node.root, 'boot'), '00000000-0000-0000-0000-000000000000\n')
}

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** An address that the plugin host-local has given away: a file that is called like it. */
export interface Lease {
  file: string
  /** As the plugin was told. */
  containerId: string
}

/** All in a directory of networks. @see host-local, backend/disk */
export async function leasesIn(dir: string): Promise<Lease[]> {
  const found: Lease[] = []
  for (const network of await readdir(dir).catch(() => [])) {
    // Beside them is its lock, and what it gave away last.
    const addresses = (await readdir(join(dir, network))).filter((name) => /^[\da-f]+[.:]/.test(name))
    for (const address of addresses) {
      const file = join(dir, network, address)
      const [containerId = ''] = (await readFile(file, 'utf8').catch(() => '')).split(/\r?\n/)
      if (containerId !== '') found.push({ file, containerId })
    }
  }
  return found
}

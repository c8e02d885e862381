import { z } from 'zod'
import { duration } from '../model/duration.ts'
import { networkMode } from '../oci/spec/network-mode.ts'

const directory = z.string().startsWith('/', 'a directory is an absolute path: begin it with /')

/** `[network]`: what containers are connected by. */
export const networkSchema = z
  .strictObject({
    default: z
      .string()
      .refine(
        (text) => ['none', 'host', 'named'].includes(networkMode(text)?.kind ?? ''),
        'it is none, host or the name of a network',
      )
      .default('none')
      .describe('network of a container for which none is named'),
    confDir: directory.default('/etc/cni/net.d').describe('networks that are laid out for CNI'),
    pluginDirs: z
      .array(directory)
      .min(1, 'name a directory at least')
      .max(16)
      .default(['/opt/cni/bin', '/usr/lib/cni'])
      .describe('where CNI plugins are looked for'),
    checkEvery: duration
      .prefault('10m')
      .describe('from one look at the networks of all containers to the next; 0s: at the start alone'),
    timeout: duration.prefault('30s').describe('in which a plugin must have done its part'),
  })
  .prefault({})

import type { FlagsOf, OptionSpecs } from '../line/verb.ts'

/** What a checkpoint may hold, and a restore may bring back. */
export const checkpointModeOptions = {
  'tcp-established': { help: 'with established TCP connections' },
  'ext-unix-sk': { help: 'with Unix sockets whose other end is outside of the container' },
  'file-locks': { help: 'with locks on files' },
} as const satisfies OptionSpecs

const kept = (flag: boolean) => (flag ? ('keep' as const) : ('refuse' as const))

export const checkpointModePayload = (flags: FlagsOf<typeof checkpointModeOptions>) => ({
  tcp: kept(flags['tcp-established']),
  unixSockets: kept(flags['ext-unix-sk']),
  fileLocks: kept(flags['file-locks']),
})

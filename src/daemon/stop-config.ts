import { z } from 'zod'
import { duration } from '../model/duration.ts'

/** How long each phase of a stop has, after the stop signal and its grace period, before the next one follows. */
export const stopSchema = z
  .strictObject({
    kill: duration.prefault('10s').describe('after SIGKILL'),
    killCgroup: duration.prefault('5s').describe('after SIGKILL to all in its cgroup'),
    killShim: duration.prefault('10s').describe('after the end of its shim'),
    cleanUp: duration.prefault('30s').describe('for the removal of what is left'),
  })
  .transform(({ kill, killCgroup, killShim, cleanUp }) => ({
    kill,
    'kill-cgroup': killCgroup,
    'kill-shim': killShim,
    'clean-up': cleanUp,
  }))
  .prefault({})

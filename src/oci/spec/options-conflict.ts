import type { ContainerOptions } from './container-options.ts'
import { isolationConflict } from './isolation-options.ts'
import { networkConflict } from './network-options.ts'

/** What does not go together in what a caller asks for, each by itself being well. */
export const optionsConflict = (options: ContainerOptions): { field: string; message: string } | undefined =>
  networkConflict(options) ?? isolationConflict(options)

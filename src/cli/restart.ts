import { defineContainersVerb } from './line/each-container.ts'
import { stopOptions, stopPayload } from './options/stop.ts'

export const verb = defineContainersVerb('container.restart', stopOptions, stopPayload)

import { defineContainersVerb } from './line/each-container.ts'

export const verb = defineContainersVerb('container.start', {}, () => ({}))

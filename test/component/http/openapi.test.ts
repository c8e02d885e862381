import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { z } from 'zod'
import { described } from '../../../src/api/http/index.ts'
import { commandTypes } from '../../../src/commands/index.ts'
import { type Api, startApi } from '../../support/http.ts'

const document = z.looseObject({
  openapi: z.string(),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({
        operationId: z.string(),
        parameters: z.array(z.looseObject({ name: z.string(), in: z.string() })),
      }),
    ),
  ),
  components: z.looseObject({ schemas: z.record(z.string(), z.looseObject({})) }),
})

describe('/v1/openapi.json', () => {
  let api: Api
  let served: unknown
  let openapi: z.output<typeof document>
  before(async () => {
    api = await startApi()
    served = (await api.http('GET', '/v1/openapi.json')).json
    openapi = document.parse(served)
  })
  after(() => api[Symbol.asyncDispose]())

  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    const result = await validator.validate(z.record(z.string(), z.unknown()).parse(served))
    assert.deepEqual(result.errors ?? [], [])
    assert.equal(result.valid, true)
    assert.equal(validator.version, '3.1')
  })

  test('every reference leads somewhere', () => {
    const references = [...JSON.stringify(served).matchAll(/"\$ref":"([^"]+)"/g)].map(([, target = '']) => target)
    assert.ok(references.length > 20)
    for (const reference of new Set(references)) {
      let at: unknown = served
      for (const step of reference.replace(/^#\//, '').split('/')) {
        at = z.record(z.string(), z.unknown()).parse(at)[step.replaceAll('~1', '/').replaceAll('~0', '~')]
      }
      assert.ok(at, reference)
    }
  })

  test('has every route, with its parameters, under a name of its own', () => {
    const names = new Set<string>()
    for (const { routes, sockets = [] } of described) {
      for (const { method, path, query } of [...routes, ...sockets.map((socket) => ({ ...socket, method: 'GET' }))]) {
        const operation = openapi.paths[path]?.[method.toLowerCase()]
        assert.ok(operation, `${method} ${path}`)
        assert.ok(!names.has(operation.operationId), operation.operationId)
        names.add(operation.operationId)
        const parameters = operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
        for (const [, name] of path.matchAll(/\{(\w+)\}/g)) assert.ok(parameters.includes(`path ${name}`))
        for (const name of Object.keys(query.shape)) assert.ok(parameters.includes(`query ${name}`), `${path} ${name}`)
      }
    }
    const served = Object.values(openapi.paths).flatMap((operations) => Object.keys(operations)).length
    assert.equal(served, names.size)
  })

  test('every operation that it names is served', async () => {
    for (const [path, operations] of Object.entries(openapi.paths)) {
      for (const method of Object.keys(operations)) {
        if (method !== 'get' || path === '/v1/events') continue
        const answer = await api.http('GET', path.replaceAll(/\{\w+\}/g, 'nosuch'))
        assert.ok(!answer.text.includes('is not served here') && answer.status !== 405, `${path}: ${answer.text}`)
      }
    }
  })

  test('has every command type, and says of each what the daemon says of it', async () => {
    const mapping = z
      .looseObject({ discriminator: z.looseObject({ mapping: z.record(z.string(), z.string()) }) })
      .parse(openapi.components.schemas.CommandRequest).discriminator.mapping
    assert.deepEqual(Object.keys(mapping).sort(), [...commandTypes.keys()].sort())
    for (const type of commandTypes.keys()) {
      const { required } = z.looseObject({ required: z.array(z.string()) }).parse(openapi.components.schemas[type])
      const answer = await api.http('POST', '/v1/commands', { type })
      const isRefused = answer.status === 400
      assert.equal(isRefused, required.length > 1, `${type}: ${answer.text}`)
    }
  })
})

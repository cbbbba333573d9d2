import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { defineModule, type Module } from '../../src/core/module.ts'
import type { WantedModule } from '../../src/core/module-host.ts'
import { type Core, DOMAIN, startCore } from '../support/core.ts'

declare module '../../src/core/hook-map.ts' {
  interface HookMap {
    greeting: { readonly acc: string; readonly params: object }
  }
}

const log: string[] = []

type Settings = { readonly word: string; readonly fails?: boolean | undefined }

/** Says its word; its instances count together. */
const greeter = defineModule<Settings>({
  name: 'greeter',
  implements: [],
  config: z.strictObject({ word: z.string(), fails: z.boolean().optional() }),
  start({ config, hooks, iq, lasting, onLeave, onReady, onStop }) {
    const { word } = config
    const counter = lasting(
      () => ({ starts: 0 }),
      ({ starts }) => void log.push(`released after ${starts}`),
    )
    counter.starts++
    hooks.on('greeting', (said) => `${said}${word} ${counter.starts};`)
    iq.on('server', 'get', 'urn:greeting', 'greet', () => undefined)
    if (config.fails === true) throw new Error('no voice')
    onReady(() => void log.push(`${word} ready`))
    onLeave(() => void log.push(`${word} leaves`))
    onStop(() => void log.push(`${word} stops`))
  },
})

const other = defineModule({
  name: 'other',
  implements: [],
  config: z.strictObject({}),
  start({ hooks }) {
    hooks.on('greeting', (said) => `${said}other;`)
  },
})

const wanted = (word: string, types?: string[], fails?: boolean): WantedModule => ({
  module: greeter as Module,
  config: { word, fails },
  ...(types !== undefined && { types: new Set(types) }),
})

async function become(core: Core, all: readonly WantedModule[]): Promise<void> {
  const change = await core.modules.prepare(all)
  await change.leave()
  change.commit()
  await change.settle()
  await change.finish()
}

const said = (core: Core, type = 'default') => core.hooks.at('greeting', type).run('', {})

test('other settings take over in one step, and what lasts goes on', async () => {
  await using core = await startCore()
  log.length = 0
  await become(core, [wanted('hello'), { module: other as Module, config: {} }])
  assert.equal(said(core), 'hello 1;other;')

  const change = await core.modules.prepare([
    wanted('ahoy'),
    { module: other as Module, config: {} },
  ])
  assert.equal(said(core), 'hello 2;other;')
  change.commit()
  // In its old place, though it came later.
  assert.equal(said(core), 'ahoy 2;other;')
  await change.settle()
  await change.finish()
  assert.deepEqual(log, ['hello ready', 'ahoy ready', 'hello stops'])

  await become(core, [{ module: other as Module, config: {} }])
  assert.equal(said(core), 'other;')
  assert.deepEqual(log.slice(3), ['ahoy leaves', 'ahoy stops', 'released after 2'])
})

test('the same settings go on as they are', async () => {
  await using core = await startCore()
  log.length = 0
  await become(core, [wanted('hello')])
  await become(core, [wanted('hello')])

  assert.deepEqual(log, ['hello ready'])
  assert.equal(said(core), 'hello 1;')
})

test('a start that fails changes nothing', async () => {
  await using core = await startCore()
  log.length = 0
  await become(core, [wanted('hello')])

  await assert.rejects(core.modules.prepare([wanted('ahoy', undefined, true)]), /no voice/)
  assert.equal(said(core), 'hello 2;')
  assert.deepEqual(log, ['hello ready'])
})

test('what was committed can be taken back', async () => {
  await using core = await startCore()
  log.length = 0
  await become(core, [wanted('hello')])
  const change = await core.modules.prepare([wanted('ahoy')])
  change.commit()
  change.revert()
  await change.abandon()

  assert.equal(said(core), 'hello 2;')
  assert.deepEqual(log, ['hello ready', 'ahoy stops'])
})

test('domain types have instances of their own, or none', async () => {
  await using core = await startCore()
  await become(core, [wanted('hello', ['default']), wanted('ahoy', ['harbour'])])

  assert.equal(said(core), 'hello 2;')
  assert.equal(said(core, 'harbour'), 'ahoy 2;')
  assert.equal(said(core, 'desert'), '')
  const { iq } = core
  assert.deepEqual(iq.namespaces('server', 'default').includes('urn:greeting'), true)
  assert.deepEqual(iq.namespaces('server', 'desert').includes('urn:greeting'), false)

  // One that is there already serves another type without being started again.
  await become(core, [wanted('hello', ['default', 'desert'])])
  assert.equal(said(core, 'desert'), 'hello 2;')
  assert.equal(said(core, 'harbour'), '')
})

test('a module that leaves some domains is told which', async () => {
  await using core = await startCore()
  const left: boolean[] = []
  const module = defineModule<{ readonly at: number }>({
    name: 'tenant',
    implements: [],
    config: z.strictObject({ at: z.number() }),
    start({ onLeave }) {
      onLeave(({ leaves }) => void left.push(leaves(DOMAIN)))
    },
  }) as Module
  const at = (number: number, ...types: string[]) => ({
    module,
    config: { at: number },
    types: new Set(types),
  })
  await become(core, [at(1, 'default', 'harbour')])
  // Others of its instances serve it: nothing is left.
  await become(core, [at(1, 'harbour'), at(2, 'default')])
  assert.deepEqual(left, [false])

  await become(core, [at(2, 'harbour')])
  assert.deepEqual(left.slice(1), [true, false])
})

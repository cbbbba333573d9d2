import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../../test/support/cluster.ts'
import { emptyDirectory } from '../../test/support/directory.ts'
import type { NodeRun } from '../core/cluster.ts'
import type { Component } from '../core/components.ts'
import { silentLogger } from '../core/log.ts'
import { MachineHub, MachineRegistry } from './machine-registry.ts'
import { RemoteComponents } from './remote-components.ts'
import { systemClock } from './transport.ts'

/** The registry of the processes of one machine, and who is over. */
async function open() {
  const stack = new AsyncDisposableStack()
  const directory = stack.use(await emptyDirectory())
  const path = join(directory.path, 'hub.sock')
  const hub = stack.use(await MachineHub.listen(path))
  const cleaned: NodeRun[] = []
  const rows = new Set<string>()
  const watcher = await MachineRegistry.connect(path, () => {})
  stack.defer(() => watcher.close())
  await watcher.watch(({ key, value }) => {
    if (value === undefined) rows.delete(key)
    else rows.add(key)
  })
  return {
    hub,
    cleaned,
    rows: () => [...rows],
    async node(self: NodeRun) {
      const registry = await MachineRegistry.connect(path, () => {})
      stack.defer(() => registry.close())
      const there = new Set<Component>()
      const components = new RemoteComponents({
        self: () => self,
        registry,
        clock: systemClock,
        log: silentLogger,
        table: {
          register: (component) => there.add(component),
          unregister: (component) => void there.delete(component),
        },
        handOffTo: () => assert.fail('nothing is handed to it'),
        closeRemote: async () => {},
        isCleaned: (run) =>
          cleaned.some(({ node, epoch }) => node === run.node && run.epoch <= epoch),
        isCleaner: () => true,
      })
      await registry.watch((change) => components.onChange(change))
      const seen = () => [...there].map(({ id, domains, isHidden }) => ({ id, domains, isHidden }))
      return { components, seen }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function component(id: string) {
  return {
    id,
    domains: ['echo.example.net'],
    isSubdomain: false,
    isHidden: false,
    isLocal: true,
    handle: () => assert.fail('nothing is handed to it'),
    awaits: () => false,
    close: async () => {},
  }
}

const shown = ({ id, domains, isHidden }: Component) => ({ id, domains, isHidden })

test('others see a component as it is, whatever of it changes', async () => {
  await using machine = await open()
  const one = await machine.node({ node: 'one', epoch: 1 })
  const two = await machine.node({ node: 'two', epoch: 1 })
  const echo = component('c1')
  one.components.connected(echo)
  await until(() => two.seen().length === 1)
  assert.deepEqual(two.seen(), [shown(echo)])
  // Several changes at once, of which the last counts.
  for (const [isHidden, domain] of [
    [true, 'echo.example.net'],
    [false, 'echo.example.com'],
    [true, 'echo.example.com'],
  ] as const) {
    Object.assign(echo, { isHidden, domains: [domain] })
    one.components.changed(echo)
  }
  await until(() => two.seen()[0]?.domains[0] === 'echo.example.com')
  await until(() => two.seen()[0]?.isHidden === true)
  Object.assign(echo, { isHidden: false })
  one.components.changed(echo)
  await until(() => two.seen()[0]?.isHidden === false)
  one.components.gone(echo)
  await until(() => two.seen().length === 0)
  await until(() => machine.rows().length === 0)
})

test('a component that comes and goes at once leaves nothing', async () => {
  await using machine = await open()
  const one = await machine.node({ node: 'one', epoch: 1 })
  const two = await machine.node({ node: 'two', epoch: 1 })
  const [brief, last] = [component('brief'), component('last')]
  one.components.connected(brief)
  one.components.gone(brief)
  one.components.connected(last)
  await until(() => two.seen().some(({ id }) => id === 'last'))
  await until(() => machine.rows().length === 1)
  await until(() => two.seen().length === 1)
})

test('a row that is removed while its component is there is written again', async () => {
  await using machine = await open()
  const one = await machine.node({ node: 'one', epoch: 1 })
  const two = await machine.node({ node: 'two', epoch: 1 })
  one.components.connected(component('c1'))
  await until(() => two.seen().length === 1 && machine.rows().length === 1)
  const [key = ''] = machine.rows()
  const before = machine.hub.get(key)?.revision ?? 0
  machine.hub.remove(key, before)
  await until(() => (machine.hub.get(key)?.revision ?? 0) > before)
  await until(() => two.seen().length === 1)
})

test('what an earlier run of a node had is removed by its next', async () => {
  await using machine = await open()
  const two = await machine.node({ node: 'two', epoch: 1 })
  const first = await machine.node({ node: 'one', epoch: 1 })
  first.components.connected(component('old'))
  await until(() => two.seen().length === 1 && machine.rows().length === 1)
  const second = await machine.node({ node: 'one', epoch: 2 })
  await second.components.removeLost({ node: 'one', epoch: 1 })
  await until(() => machine.rows().length === 0)
  await until(() => two.seen().length === 0)
})

test('what a run writes when all it had is taken care of is removed', async () => {
  await using machine = await open()
  const two = await machine.node({ node: 'two', epoch: 1 })
  const lost = await machine.node({ node: 'one', epoch: 1 })
  lost.components.connected(component('in time'))
  await until(() => two.seen().length === 1 && machine.rows().length === 1)
  const run = { node: 'one', epoch: 1 }
  machine.cleaned.push(run)
  two.components.onCleaned(run)
  assert.deepEqual(two.seen(), [])
  await until(() => machine.rows().length === 0)
})

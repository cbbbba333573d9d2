import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { registryOf } from '../../src/metrics/index.ts'
import { metricSources } from '../../src/server-metrics.ts'
import { ask } from '../support/api.ts'
import { startServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
const dashboard = readFileSync(new URL('../../docs/grafana/meerkat.json', import.meta.url), 'utf8')

test('the page names every metric with its kind, labels and meaning, and no other', async () => {
  await using server = await startServer()
  const sources = metricSources(server.server)
  const cells = page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  const rows = new Map(cells.map(([, name = '', ...rest]) => [name.replaceAll('`', ''), rest]))
  for (const { name, kind, labels, help } of sources) {
    const documented = rows.get(name)?.slice(0, 3)
    assert.deepEqual(documented, [kind, labels.map((label) => `\`${label}\``).join(', '), help])
  }
  const all = registryOf(sources).getMetricsAsArray()
  for (const [name, [kind]] of rows) {
    const metric = all.find((each) => each.name === name)
    assert.equal(String(metric?.type), kind, name)
  }
})

test('the dashboard asks for nothing that there is not', async () => {
  await using server = await startServer()
  const names = new Set(
    registryOf(metricSources(server.server))
      .getMetricsAsArray()
      .map(({ name }) => name),
  )
  const asked = new Set(dashboard.match(/\b(?:meerkat|nodejs|process)_[a-z0-9_]+/g))
  assert.ok(asked.size > 15)
  for (const name of asked) {
    assert.ok(names.has(name) || names.has(name.replace(/_(sum|count|bucket)$/, '')), name)
  }
  for (const { name } of metricSources(server.server)) {
    if (!/_info$|_start_time|_modules$/.test(name)) assert.ok(asked.has(name), name)
  }
})

test('what happens is counted', async () => {
  await using server = await startServer({ http: {}, component: {} })
  const numberAt = async (line: RegExp) => {
    const { body, headers } = await ask(`${server.urlOf()}/metrics`, { method: 'GET' })
    assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
    const found = String(body)
      .split('\n')
      .find((each) => line.test(each))
    return Number(found?.split(' ').at(-1))
  }
  const received = /^meerkat_stanzas_received_total\{from="c2s",kind="message"\}/
  const sent = /^meerkat_stanzas_sent_total\{to="c2s",kind="message"\}/
  assert.deepEqual([await numberAt(received), await numberAt(sent)], [0, 0])
  const romeo = await server.connect('romeo')
  const juliet = await server.connect('juliet')
  romeo.send(chat(juliet.bareJid, 'counted'))
  await juliet.receives({ body: 'counted' })
  await server.connectComponent('irc.example.net')
  await server.server.dynamicDomains.add('verona.example')
  assert.deepEqual([await numberAt(received), await numberAt(sent)], [1, 1])
  const numbers: [RegExp, number][] = [
    [/^meerkat_sessions\{/, 2],
    [/^meerkat_sessions\{domain="verona.example"\}/, 0],
    [/^meerkat_connections\{listener="c2s"\}/, 2],
    [/^meerkat_components /, 1],
    [/^meerkat_storage_waiting_bytes /, 0],
  ]
  for (const [line, value] of numbers) assert.equal(await numberAt(line), value, String(line))
  assert.ok((await numberAt(/^meerkat_connections\{listener="http"\}/)) > 0)
  assert.ok((await numberAt(/^meerkat_outcomes_total\{by="[a-z-]+",fate="delivered"\}/)) > 0)
  assert.ok((await numberAt(/^meerkat_storage_batches_total /)) > 0)
  assert.ok((await numberAt(/^meerkat_hook_runs_total\{hook="user_send_message"/)) > 0)
  assert.ok((await numberAt(/^nodejs_eventloop_lag_p99_seconds /)) >= 0)
})

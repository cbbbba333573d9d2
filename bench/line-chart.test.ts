import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SaxesParser } from 'saxes'
import { lineChart } from './line-chart.ts'

test('equal costs are a level line, ten times as many are as far apart everywhere', () => {
  const points = [1, 10, 100].map((x) => ({ x, y: 5 }))
  const svg = lineChart([{ title: 'a < b', points }], { title: 't & t', xTitle: 'x', yTitle: 'y' })

  const places: { x: number; y: number }[] = []
  const parser = new SaxesParser()
  parser.on('opentag', ({ name, attributes }) => {
    const { cx, cy, r } = attributes as Record<string, string>
    if (name === 'circle' && r === '3.5') places.push({ x: Number(cx), y: Number(cy) })
  })
  parser.write(svg).close()

  const [first, second, third] = places
  assert.ok(first && second && third)
  assert.equal(new Set(places.map(({ y }) => y)).size, 1)
  assert.equal(second.x - first.x, third.x - second.x)
})

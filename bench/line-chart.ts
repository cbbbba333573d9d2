/** A line of a chart: what it is called, and its points in ascending order of `x`. */
export interface Line {
  readonly title: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

export interface ChartOptions {
  readonly title: string
  readonly xTitle: string
  readonly yTitle: string
}

const WIDTH = 640
const HEIGHT = 360
const LEFT = 64
const RIGHT = 16
const TOP = 40
const BOTTOM = 84
const COLORS = ['#1f6feb', '#d1242f', '#1a7f37', '#9a6700', '#8250df']

/**
 * An SVG document. The horizontal axis is logarithmic, the vertical one linear and begins at 0: what
 * costs the same for each is a level line. All values are positive.
 */
export function lineChart(lines: readonly Line[], { title, xTitle, yTitle }: ChartOptions): string {
  const points = lines.flatMap((line) => line.points)
  const xs = points.map(({ x }) => Math.log10(x))
  const [first, last] = [Math.min(...xs), Math.max(...xs)]
  const top = roundUp(Math.max(...points.map(({ y }) => y)))
  const right = WIDTH - RIGHT
  const floor = HEIGHT - BOTTOM
  const across = (x: number) =>
    LEFT + (last === first ? 0.5 : (Math.log10(x) - first) / (last - first)) * (right - LEFT)
  const up = (y: number) => floor - (y / top) * (floor - TOP)

  const parts = [
    text(WIDTH / 2, 22, title, 'font-size="15" text-anchor="middle"'),
    text((LEFT + right) / 2, floor + 36, xTitle, 'text-anchor="middle"'),
    text(14, (TOP + floor) / 2, yTitle, `text-anchor="middle" ${turned(14, (TOP + floor) / 2)}`),
  ]
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const y = up(top * part)
    parts.push(
      `<line x1="${LEFT}" x2="${right}" y1="${round(y)}" y2="${round(y)}" stroke="#d0d7de"/>`,
    )
    parts.push(text(LEFT - 8, y + 4, figure(top * part), 'text-anchor="end"'))
  }
  for (const x of new Set(points.map((point) => point.x))) {
    parts.push(text(across(x), floor + 18, figure(x), 'text-anchor="middle"'))
  }
  for (const [i, line] of lines.entries()) {
    const color = COLORS[i % COLORS.length]
    const places = line.points.map(({ x, y }) => `${round(across(x))},${round(up(y))}`)
    parts.push(
      `<polyline points="${places.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
    )
    for (const place of places) {
      const [cx, cy] = place.split(',')
      parts.push(`<circle cx="${cx}" cy="${cy}" r="3.5" fill="${color}"/>`)
    }
    const legend = LEFT + i * 190
    parts.push(`<circle cx="${legend}" cy="${HEIGHT - 20}" r="4" fill="${color}"/>`)
    parts.push(text(legend + 10, HEIGHT - 16, line.title, ''))
  }
  const style = 'font-family="sans-serif" font-size="12" fill="#1f2328"'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" ${style}>`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escaped(content)}</text>`
}

const escaped = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

const turned = (x: number, y: number) => `transform="rotate(-90 ${x} ${round(y)})"`

const round = (value: number) => Number(value.toFixed(1))

/** To 1, 2, 4 or 8 times a power of ten, which have readable quarters. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 4, 8, 10].find((factor) => factor * power >= value) ?? 10) * power
}

function figure(value: number): string {
  if (value >= 1_000_000) return `${round(value / 1_000_000)}M`
  if (value >= 10_000) return `${round(value / 1000)}k`
  return String(Number(value.toPrecision(3)))
}

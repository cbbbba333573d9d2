/** For whoever starts and watches the server: is it alive, and may clients be sent to it? */
import { HttpProblem, type HttpService } from '../core/http.ts'

export interface HealthSource {
  /** What keeps the server from serving; nothing when it is ready. */
  problems(): Promise<readonly string[]>
}

/** An answer is as good as the last one for so long: strangers may ask, too. Milliseconds. */
const GOOD_FOR = 1_000

export function health(source: HealthSource): HttpService {
  let last: { readonly at: number; readonly problems: Promise<readonly string[]> } | undefined
  const problems = () => {
    const now = performance.now()
    if (last === undefined || now - last.at > GOOD_FOR) {
      last = { at: now, problems: source.problems() }
    }
    return last.problems
  }
  return (app) => {
    app.get('/health/live', async () => ({ status: 'live' }))
    app.get('/health/ready', async () => {
      const found = await problems()
      if (found.length > 0) throw new HttpProblem(503, 'not-ready', found.join('; '))
      return { status: 'ready' }
    })
  }
}

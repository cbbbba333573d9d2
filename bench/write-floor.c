/*
 * What the kernel takes for one write to each of many sockets: the least that a copy of a message can cost
 * a server that writes to each recipient once.
 *
 *     cc -O2 -o write-floor bench/write-floor.c
 *     ./write-floor SOCKETS OCTETS ROUNDS
 *
 * A second process reads, woken by epoll, as a load generator would; the next round begins when it has all. Prints the
 * writing process's processor time for each write, in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS 256

static int sockets, octets, rounds;

static void check(int ok, const char *what)
{
    if (ok) return;
    perror(what);
    exit(1);
}

static void read_all(struct sockaddr_in *address, int done)
{
    static char buffer[65536];
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0);
    for (int i = 0; i < sockets; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = s};
        check(s >= 0 && connect(s, (struct sockaddr *)address, sizeof *address) == 0, "connect");
        check(epoll_ctl(poll, EPOLL_CTL_ADD, s, &wanted) == 0, "epoll_ctl");
    }
    for (int r = 0; r < rounds; r++) {
        for (long left = (long)sockets * octets; left > 0;) {
            int count = epoll_wait(poll, events, EVENTS, -1);
            for (int i = 0; i < count; i++) {
                ssize_t got = read(events[i].data.fd, buffer, sizeof buffer);
                if (got <= 0) exit(1);
                left -= got;
            }
        }
        check(write(done, "", 1) == 1, "write");
    }
    exit(0);
}

static double spent(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return 1e6 * (use.ru_utime.tv_sec + use.ru_stime.tv_sec) + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    if (argc == 4) sockets = atoi(argv[1]), octets = atoi(argv[2]), rounds = atoi(argv[3]);
    if (sockets < 1 || octets < 1 || rounds < 1) {
        fprintf(stderr, "usage: %s SOCKETS OCTETS ROUNDS\n", argv[0]);
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), done[2], on = 1;
    check(bind(listener, (struct sockaddr *)&address, length) == 0, "bind");
    check(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
    check(listen(listener, sockets) == 0 && pipe(done) == 0, "listen");
    pid_t reader = fork();
    check(reader >= 0, "fork");
    if (reader == 0) read_all(&address, done[1]);

    close(done[1]);
    int *all = malloc(sockets * sizeof *all);
    char *message = malloc(octets), done_one;
    memset(message, 'x', octets);
    for (int i = 0; i < sockets; i++) {
        all[i] = accept(listener, NULL, NULL);
        check(all[i] >= 0, "accept");
        setsockopt(all[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    double before = spent();
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < sockets; i++) check(write(all[i], message, octets) == octets, "write");
        check(read(done[0], &done_one, 1) == 1, "the reader");
    }
    printf("%.2f\n", (spent() - before) / rounds / sockets);
    waitpid(reader, NULL, 0);
    return 0;
}

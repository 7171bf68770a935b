/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_width.c - how many processors this process may keep busy: its affinity
 * mask, and the quotas of the control groups it is in.
 *
 * cgroup v2 (cpu.max, of the group and of those above it) and v1
 * (cpu.cfs_quota_us of the cpu controller); Linux, Documentation/
 * admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
 */
#include "runtime/runtime_int.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_QUOTA 1e9

static bool read_line(const char *path, char *line, int n)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(line, n, f);
    if (f)
        fclose(f);
    return ok;
}

/* Processors that "quota period" pays for. */
static double share(double quota, double period)
{
    return quota > 0 && period > 0 ? quota / period : NO_QUOTA;
}

static double quota_v2(const char *folder)
{
    char path[1024], line[128];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_line(path, line, sizeof line) || sscanf(line, "%lf %lf", &quota, &period) != 2)
        return NO_QUOTA;
    return share(quota, period);
}

static double quota_v1(const char *folder)
{
    char path[1024], line[128];
    double quota;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, line, sizeof line))
        return NO_QUOTA;
    quota = atof(line);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_line(path, line, sizeof line) ? share(quota, atof(line)) : NO_QUOTA;
}

/* The least quota from root/path up to root. */
static double climb(const char *root, const char *path, double (*quota)(const char *))
{
    char folder[900];
    size_t least = strlen(root);
    double found = NO_QUOTA;
    snprintf(folder, sizeof folder, "%s%s", root, path);
    for (;;) {
        double q = quota(folder);
        found = q < found ? q : found;
        char *slash = strrchr(folder, '/');
        if (!slash || strlen(folder) <= least)
            return found;
        *slash = 0;
    }
}

/* A line of /proc/self/cgroup: "0::/path" (v2) or "4:cpu,cpuacct:/path". */
static double quota_of(char *line)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path)
        return NO_QUOTA;
    *path++ = 0;
    path[strcspn(path, "\n")] = 0;
    path = strcmp(path, "/") ? path : path + 1;
    if (controllers[1] == 0)
        return climb("/sys/fs/cgroup", path, quota_v2);
    bool cpu = !strncmp(controllers + 1, "cpu", 3) && (controllers[4] == 0 || controllers[4] == ',');
    return cpu ? climb("/sys/fs/cgroup/cpu", path, quota_v1) : NO_QUOTA;
}

int cab_processors(void)
{
    cpu_set_t set;
    char line[1024];
    double quota = NO_QUOTA;
    CPU_ZERO(&set);
    int width = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        double q = quota_of(line);
        quota = q < quota ? q : quota;
    }
    if (f)
        fclose(f);
    /* A fraction of a processor is worth a thread of its own from a half on. */
    int paid = quota < NO_QUOTA ? (int)(quota + 0.5) : width;
    width = paid < width ? paid : width;
    return width < 1 ? 1 : width;
}

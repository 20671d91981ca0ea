__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sum_70x513(__global const float* restrict a0, __global float* restrict a1) {
    const int group_0 = get_group_id(0);
    float16 s0 = (float16)(0.0f);
    for (int j0 = 0; j0 < 513; j0++) {
        const float16 t0_ = vload16(0, a0 + ((j0 * 70) + (group_0 * 16)));
        s0 = s0 + (t0_ * t0_);
    }
    const int i0_ = group_0 * 16;
    vstore16(s0, 0, a1 + i0_);
    if (group_0 >= 3) {
        for (int rest = 64; rest < 70; rest++) {
            float s0_1 = 0.0f;
            for (int j0 = 0; j0 < 513; j0++) {
                const float t1_ = a0[(j0 * 70) + rest];
                s0_1 = s0_1 + (t1_ * t1_);
            }
            a1[rest] = s0_1;
        }
    }
}

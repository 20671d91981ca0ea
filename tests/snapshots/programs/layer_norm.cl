__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void sum_add_100x300(__global const float* restrict a0, __global const float* restrict a1, __global const float* restrict a2, __global float* restrict a3) {
    const int group_0 = get_group_id(0);
    for (int point = 0; point < min(13, (group_0 * (-13)) + 100); point++) {
        float16 s0_v0 = (float16)(0.0f);
        float16 s0_v1 = (float16)(0.0f);
        for (int j0v = 0; j0v < 9; j0v++) {
            s0_v0 = s0_v0 + vload16(0, a0 + (((group_0 * 3900) + (point * 300)) + (j0v * 32)));
            s0_v1 = s0_v1 + vload16(0, a0 + ((((group_0 * 3900) + (point * 300)) + (j0v * 32)) + 16));
        }
        const float16 s0_c16 = s0_v0 + s0_v1;
        const float8 s0_c8 = s0_c16.lo + s0_c16.hi;
        const float4 s0_c4 = s0_c8.lo + s0_c8.hi;
        const float2 s0_c2 = s0_c4.lo + s0_c4.hi;
        float s0 = s0_c2.lo + s0_c2.hi;
        for (int j0t = 288; j0t < 300; j0t++) {
            s0 = s0 + a0[((group_0 * 3900) + (point * 300)) + j0t];
        }
        float16 s1_v0 = (float16)(0.0f);
        float16 s1_v1 = (float16)(0.0f);
        for (int j0v_1 = 0; j0v_1 < 9; j0v_1++) {
            const float t0_ = s0 / 300.0f;
            const float16 t1_ = vload16(0, a0 + (((group_0 * 3900) + (point * 300)) + (j0v_1 * 32))) - t0_;
            s1_v0 = s1_v0 + (t1_ * t1_);
            const float16 t2_ = vload16(0, a0 + ((((group_0 * 3900) + (point * 300)) + (j0v_1 * 32)) + 16)) - t0_;
            s1_v1 = s1_v1 + (t2_ * t2_);
        }
        const float16 s1_c16 = s1_v0 + s1_v1;
        const float8 s1_c8 = s1_c16.lo + s1_c16.hi;
        const float4 s1_c4 = s1_c8.lo + s1_c8.hi;
        const float2 s1_c2 = s1_c4.lo + s1_c4.hi;
        float s1 = s1_c2.lo + s1_c2.hi;
        for (int j0t_1 = 288; j0t_1 < 300; j0t_1++) {
            const float t3_ = a0[((group_0 * 3900) + (point * 300)) + j0t_1] - (s0 / 300.0f);
            s1 = s1 + (t3_ * t3_);
        }
        for (int j0v_2 = 0; j0v_2 < 18; j0v_2++) {
            const int i0_ = j0v_2 * 16;
            const float16 t4_ = vload16(0, a1 + i0_) * (vload16(0, a0 + (((group_0 * 3900) + (point * 300)) + i0_)) - (s0 / 300.0f));
            vstore16((t4_ / sqrt((s1 / 300.0f) + 1e-05f)) + vload16(0, a2 + i0_), 0, a3 + (((group_0 * 3900) + (point * 300)) + i0_));
        }
        for (int j0t_2 = 288; j0t_2 < 300; j0t_2++) {
            const int i1_ = ((group_0 * 3900) + (point * 300)) + j0t_2;
            a3[i1_] = ((a1[j0t_2] * (a0[i1_] - (s0 / 300.0f))) / sqrt((s1 / 300.0f) + 1e-05f)) + a2[j0t_2];
        }
    }
}

extern "C" __global__ void __launch_bounds__(32)
sum_add_100x300(const float* __restrict__ a0, const float* __restrict__ a1, const float* __restrict__ a2, float* __restrict__ a3) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    float a0_row0[12];
    #pragma unroll
    for (int j0u = 0; j0u < 2; j0u++) {
        const float4 v0_ = *(const float4*)(a0 + (((group_0 * 300) + (j0u * 128)) + (local_0 * 4)));
        const float a0_w1_0 = v0_.x, a0_w1_1 = v0_.y, a0_w1_2 = v0_.z, a0_w1_3 = v0_.w;
        const int i0_ = j0u * 4;
        a0_row0[i0_] = a0_w1_0;
        a0_row0[i0_ + 1] = a0_w1_1;
        a0_row0[i0_ + 2] = a0_w1_2;
        a0_row0[i0_ + 3] = a0_w1_3;
    }
    const int i1_ = local_0 * 4;
    const bool m0_ = i1_ < 44;
    if (m0_) {
        const float4 v1_ = *(const float4*)(a0 + (((group_0 * 300) + i1_) + 256));
        const float a0_w2_0 = v1_.x, a0_w2_1 = v1_.y, a0_w2_2 = v1_.z, a0_w2_3 = v1_.w;
        a0_row0[8] = a0_w2_0;
        a0_row0[9] = a0_w2_1;
        a0_row0[10] = a0_w2_2;
        a0_row0[11] = a0_w2_3;
    }
    float s0_v_0 = 0.0f;
    float s0_v_1 = 0.0f;
    float s0_v_2 = 0.0f;
    float s0_v_3 = 0.0f;
    #pragma unroll
    for (int j0u_1 = 0; j0u_1 < 2; j0u_1++) {
        const int i2_ = j0u_1 * 4;
        const float s0_v_0_new3 = s0_v_0 + a0_row0[i2_];
        const float s0_v_1_new3 = s0_v_1 + a0_row0[i2_ + 1];
        const float s0_v_2_new3 = s0_v_2 + a0_row0[i2_ + 2];
        const float s0_v_3_new3 = s0_v_3 + a0_row0[i2_ + 3];
        s0_v_0 = s0_v_0_new3;
        s0_v_1 = s0_v_1_new3;
        s0_v_2 = s0_v_2_new3;
        s0_v_3 = s0_v_3_new3;
    }
    if (m0_) {
        const float s0_v_0_new4 = s0_v_0 + a0_row0[8];
        const float s0_v_1_new4 = s0_v_1 + a0_row0[9];
        const float s0_v_2_new4 = s0_v_2 + a0_row0[10];
        const float s0_v_3_new4 = s0_v_3 + a0_row0[11];
        s0_v_0 = s0_v_0_new4;
        s0_v_1 = s0_v_1_new4;
        s0_v_2 = s0_v_2_new4;
        s0_v_3 = s0_v_3_new4;
    }
    const float s0_c2_0 = s0_v_0 + s0_v_2;
    const float s0_c2_1 = s0_v_1 + s0_v_3;
    float s0 = s0_c2_0 + s0_c2_1;
    const float s0_from = __shfl_xor_sync(0xffffffffu, s0, 16);
    s0 = s0 + s0_from;
    const float s0_from_1 = __shfl_xor_sync(0xffffffffu, s0, 8);
    s0 = s0 + s0_from_1;
    const float s0_from_2 = __shfl_xor_sync(0xffffffffu, s0, 4);
    s0 = s0 + s0_from_2;
    const float s0_from_3 = __shfl_xor_sync(0xffffffffu, s0, 2);
    s0 = s0 + s0_from_3;
    const float s0_from_4 = __shfl_xor_sync(0xffffffffu, s0, 1);
    s0 = s0 + s0_from_4;
    float s1_v_0 = 0.0f;
    float s1_v_1 = 0.0f;
    float s1_v_2 = 0.0f;
    float s1_v_3 = 0.0f;
    #pragma unroll
    for (int j0u_2 = 0; j0u_2 < 2; j0u_2++) {
        const int i3_ = j0u_2 * 4;
        const float t0_ = s0 / 300.0f;
        const float t1_ = a0_row0[i3_] - t0_;
        const float s1_v_0_new5 = s1_v_0 + (t1_ * t1_);
        const float t2_ = a0_row0[i3_ + 1] - t0_;
        const float s1_v_1_new5 = s1_v_1 + (t2_ * t2_);
        const float t3_ = a0_row0[i3_ + 2] - t0_;
        const float s1_v_2_new5 = s1_v_2 + (t3_ * t3_);
        const float t4_ = a0_row0[i3_ + 3] - t0_;
        const float s1_v_3_new5 = s1_v_3 + (t4_ * t4_);
        s1_v_0 = s1_v_0_new5;
        s1_v_1 = s1_v_1_new5;
        s1_v_2 = s1_v_2_new5;
        s1_v_3 = s1_v_3_new5;
    }
    if (m0_) {
        const float t5_ = s0 / 300.0f;
        const float t6_ = a0_row0[8] - t5_;
        const float s1_v_0_new6 = s1_v_0 + (t6_ * t6_);
        const float t7_ = a0_row0[9] - t5_;
        const float s1_v_1_new6 = s1_v_1 + (t7_ * t7_);
        const float t8_ = a0_row0[10] - t5_;
        const float s1_v_2_new6 = s1_v_2 + (t8_ * t8_);
        const float t9_ = a0_row0[11] - t5_;
        const float s1_v_3_new6 = s1_v_3 + (t9_ * t9_);
        s1_v_0 = s1_v_0_new6;
        s1_v_1 = s1_v_1_new6;
        s1_v_2 = s1_v_2_new6;
        s1_v_3 = s1_v_3_new6;
    }
    const float s1_c2_0 = s1_v_0 + s1_v_2;
    const float s1_c2_1 = s1_v_1 + s1_v_3;
    float s1 = s1_c2_0 + s1_c2_1;
    const float s1_from = __shfl_xor_sync(0xffffffffu, s1, 16);
    s1 = s1 + s1_from;
    const float s1_from_1 = __shfl_xor_sync(0xffffffffu, s1, 8);
    s1 = s1 + s1_from_1;
    const float s1_from_2 = __shfl_xor_sync(0xffffffffu, s1, 4);
    s1 = s1 + s1_from_2;
    const float s1_from_3 = __shfl_xor_sync(0xffffffffu, s1, 2);
    s1 = s1 + s1_from_3;
    const float s1_from_4 = __shfl_xor_sync(0xffffffffu, s1, 1);
    s1 = s1 + s1_from_4;
    #pragma unroll
    for (int j0u_3 = 0; j0u_3 < 2; j0u_3++) {
        const int i4_ = j0u_3 * 128;
        const int i5_ = i4_ + i1_;
        const float4 v2_ = *(const float4*)(a1 + i5_);
        const float a1_w7_0 = v2_.x, a1_w7_1 = v2_.y, a1_w7_2 = v2_.z, a1_w7_3 = v2_.w;
        const float4 v3_ = *(const float4*)(a2 + i5_);
        const float a2_w8_0 = v3_.x, a2_w8_1 = v3_.y, a2_w8_2 = v3_.z, a2_w8_3 = v3_.w;
        const int i6_ = j0u_3 * 4;
        const float t10_ = s0 / 300.0f;
        const float t11_ = sqrtf((s1 / 300.0f) + 1e-05f);
        *(float4*)(a3 + (((group_0 * 300) + i4_) + i1_)) = make_float4(((a1_w7_0 * (a0_row0[i6_] - t10_)) / t11_) + a2_w8_0, ((a1_w7_1 * (a0_row0[i6_ + 1] - t10_)) / t11_) + a2_w8_1, ((a1_w7_2 * (a0_row0[i6_ + 2] - t10_)) / t11_) + a2_w8_2, ((a1_w7_3 * (a0_row0[i6_ + 3] - t10_)) / t11_) + a2_w8_3);
    }
    if (m0_) {
        const int i7_ = i1_ + 256;
        const float4 v4_ = *(const float4*)(a1 + i7_);
        const float a1_w9_0 = v4_.x, a1_w9_1 = v4_.y, a1_w9_2 = v4_.z, a1_w9_3 = v4_.w;
        const float4 v5_ = *(const float4*)(a2 + i7_);
        const float a2_w10_0 = v5_.x, a2_w10_1 = v5_.y, a2_w10_2 = v5_.z, a2_w10_3 = v5_.w;
        const float t12_ = s0 / 300.0f;
        const float t13_ = sqrtf((s1 / 300.0f) + 1e-05f);
        *(float4*)(a3 + (((group_0 * 300) + i1_) + 256)) = make_float4(((a1_w9_0 * (a0_row0[8] - t12_)) / t13_) + a2_w10_0, ((a1_w9_1 * (a0_row0[9] - t12_)) / t13_) + a2_w10_1, ((a1_w9_2 * (a0_row0[10] - t12_)) / t13_) + a2_w10_2, ((a1_w9_3 * (a0_row0[11] - t12_)) / t13_) + a2_w10_3);
    }
}
